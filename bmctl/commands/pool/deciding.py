"""The options that say how is decided, the same for every pool command."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from coordinator.core.pool.estimator import Packing
from coordinator.core.pool.expanders import ExpanderName
from coordinator.core.pool.options import PoolOptions

Command = TypeVar("Command", bound=Callable[..., Any])

POOLS = click.option(
    "--pools", "definitions", metavar="FILE", help="Pool definitions in YAML; docs/pool.md explains every field."
)
DUMP = click.option(
    "--dump", metavar="FILE", help="Output of `kubectl get nodes,pods,pdb -A -o json`, or - for standard input."
)


def deciding(command: Command) -> Command:
    """Give a command the options of the decision."""
    options = (
        click.option(
            "--estimator",
            type=click.Choice(Packing, case_sensitive=False),
            default=Packing.EXACT,
            show_default="exact",
            help="Pack as upstream's autoscaler does, or tighter.",
        ),
        click.option(
            "--expander",
            "expanders",
            type=click.Choice([name.value for name in ExpanderName]),
            multiple=True,
            help="How one of several pools is chosen; repeatable, the first decides. Default: least-waste.",
        ),
        click.option("--seed", type=int, default=0, help="Decides between equally good choices."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def options_of(estimator: Packing, expanders: tuple[str, ...], seed: int, *, keep: bool = False) -> PoolOptions:
    """The settings that these options mean; quotas on the whole cluster do not bind what-if."""
    chosen = tuple(ExpanderName(name) for name in expanders) or (ExpanderName.LEAST_WASTE,)
    defaults = PoolOptions(seed=seed)
    up = replace(defaults.up, packing=estimator, expanders=chosen, quotas={})
    return replace(defaults, up=up, down=replace(defaults.down, packing=estimator, enabled=not keep))


def without_timers(options: PoolOptions) -> PoolOptions:
    """The same settings with every wait over, so that one decision shows where many would lead."""
    down = replace(
        options.down,
        unneeded_s=0.0,
        unready_s=0.0,
        delay_after_add_s=0.0,
        delay_after_failure_s=0.0,
        max_parallel=2**31,
        max_drain=2**31,
    )
    return replace(options, up=replace(options.up, new_pod_age_s=0.0, new_gpu_pod_age_s=0.0), down=down)
