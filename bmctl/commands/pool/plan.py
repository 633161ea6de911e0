"""bmctl pool plan."""

from collections.abc import Iterator
from pathlib import Path

import click
from rich.text import Text

from bmctl import screen
from bmctl.columns import Columns
from bmctl.commands.pool.deciding import DUMP, POOLS, deciding, options_of, without_timers
from bmctl.commands.pool.observing import observe
from bmctl.commands.pool.sources import written
from bmctl.invocation import Invocation, connected, current
from coordinator.core.pool.decide import Decision
from coordinator.core.pool.estimator import Packing
from coordinator.core.pool.record import record, to_json
from coordinator.core.pool.state import PoolState


@click.command()
@DUMP
@POOLS
@deciding
@click.option("--settled", is_flag=True, help="Take every waiting time for over: what goes in the end, at once.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Form.")
@click.option(
    "--record", "kept", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Keep a record."
)
@connected
@current
def plan(
    invocation: Invocation,
    dump: str | None,
    definitions: str | None,
    estimator: Packing,
    expanders: tuple[str, ...],
    seed: int,
    settled: bool,
    output: str,
    kept: Path | None,
) -> None:
    """Show what one loop would decide, and change nothing.

    Without --dump the live cluster is looked at, with its ServerPools, or the pools of --pools in their place.
    """
    options = options_of(estimator, expanders, seed)
    made = record(observe(invocation, dump, definitions), PoolState(), without_timers(options) if settled else options)
    if kept is not None:
        written(kept, to_json(made), "--record")
    if output == "json":
        screen.out().print(to_json(made.decision).decode())
        return
    for line in _lines(made.decision):
        screen.out().print(line)


def _lines(decision: Decision) -> Iterator[Text | str]:
    yield Text(decision.sentence, style="bold")
    for one in decision.left_out:
        yield Text(f"left out: {one}", style="yellow")
    tables = (
        (["action", "pool", "detail"], _actions(decision)),
        (["pending pod", "what becomes of it"], _pods(decision)),
        (["node", "stays because", "detail", "remedy"], _nodes(decision)),
        (["pool", "refused because", "detail", "remedy"], _groups(decision)),
    )
    for names, rows in tables:
        if rows:
            yield ""
            yield from Columns(names).lines(rows)


def _actions(decision: Decision) -> list[tuple[str, str, str]]:
    added = [("add", one.group, f"{one.add} machines, to {one.target}") for one in decision.grow]
    return added + [
        ("remove", one.group, f"{one.node}, {len(one.moves)} pods move{' (risky)' if one.risky else ''}")
        for one in decision.remove
    ]


def _pods(decision: Decision) -> list[tuple[str, str]]:
    found = [(pod, f"fits {node}") for pod, node in decision.fits.items()]
    found += [(pod, "gets a new machine") for pod in decision.helped]
    return found + [(pod, "; ".join(reasons)) for pod, reasons in decision.pods.items()]


def _nodes(decision: Decision) -> list[tuple[str, str, str, str]]:
    return [(node, why.reason, why.sentence, why.remedy) for node, why in decision.nodes.items()]


def _groups(decision: Decision) -> list[tuple[str, str, str, str]]:
    return [(group, why.reason, why.sentence, why.remedy) for group, why in decision.groups.items()]
