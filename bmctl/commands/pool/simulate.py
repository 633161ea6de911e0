"""bmctl pool simulate."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bmctl import screen
from bmctl.commands.pool.deciding import DUMP, POOLS, deciding, options_of
from bmctl.commands.pool.observing import joined
from bmctl.commands.pool.observing import read as read_dump
from bmctl.commands.pool.results import Form, shown
from bmctl.commands.pool.scenarios import Window, from_dump, from_trace, groups_of, nodes_of
from bmctl.commands.pool.scoring import score
from bmctl.commands.pool.sources import document_of, named, table_of, written
from bmctl.commands.pool.spans import seconds_of
from bmctl.commands.pool.telling import Telling
from coordinator.core.pool.definitions import read_definitions
from coordinator.core.pool.estimator import Packing
from coordinator.core.pool.model import Node, NodeGroup
from coordinator.core.pool.report import Report
from coordinator.core.pool.report_page import to_html
from coordinator.core.pool.simulate import Scenario
from coordinator.core.pool.simulate import simulate as play
from coordinator.core.pool.snapshot import read as read_snapshot
from coordinator.core.pool.traces import TraceMachine, read_machines, read_pods


@dataclass(frozen=True)
class Inputs:
    """Where pods and machines come from, as said on the command line."""

    dump: str | None = None
    pods: str | None = None
    machines: str | None = None
    definitions: str | None = None
    gpus: bool = False
    role: str | None = None
    repack: bool = False

    def __post_init__(self) -> None:
        if bool(self.dump) == bool(self.pods):
            raise click.UsageError("give either --dump, or --pods for a trace")
        if self.dump and not self.definitions:
            raise click.UsageError("--dump needs --pools: a dump does not say which machines may be added")
        if not self.definitions and not self.machines:
            raise click.UsageError("give --pools, or --machines, which makes a pool of each shape of machine")

    @property
    def title(self) -> str:
        """What is simulated, in a line."""
        return Path(self.dump or self.pods or "").name


@click.command()
@DUMP
@click.option("--pods", metavar="CSV", help="Pods of a trace: openb_pod_list or disaggregated_DLRM_trace.")
@click.option("--machines", metavar="CSV", help="Machines of a trace (openb_node_list): the stock, and the pools.")
@POOLS
@deciding
@click.option(
    "--from",
    "from_s",
    type=seconds_of,
    default="0",
    metavar="SPAN",
    help="Where in the trace to begin, such as 90d or 36h.",
)
@click.option(
    "--until",
    "until_s",
    type=seconds_of,
    metavar="SPAN",
    help="Where to stop; by default when nothing happens any more.",
)
@click.option("--at-once", is_flag=True, help="Forget the trace's times: all pods arrive together and stay.")
@click.option("--repack", is_flag=True, help="Forget the dump's machines: place its pods on new ones.")
@click.option("--gpus", is_flag=True, help="Count accelerators, too; by default CPU and memory only.")
@click.option("--role", help="Only pods of this role of the DLRM trace, such as CN.")
@click.option("--loop-s", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Between decisions.")
@click.option("--boot-s", type=click.FloatRange(min=0), default=180.0, show_default=True, help="Until a machine joins.")
@click.option("--keep", is_flag=True, help="Never remove a machine.")
@click.option("--trials", type=click.IntRange(min=0), default=11, show_default=True, help="Of compaction; 0 for none.")
@click.option("-o", "--output", type=click.Choice(Form, case_sensitive=False), default=Form.TABLE, help="Form.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write an HTML page.")
def simulate(
    estimator: Packing,
    expanders: tuple[str, ...],
    seed: int,
    from_s: float,
    until_s: float | None,
    at_once: bool,
    loop_s: float,
    boot_s: float,
    keep: bool,
    trials: int,
    output: Form,
    report: Path | None,
    **inputs: Any,
) -> None:
    """Play a cluster forward with the production's decisions, and tell what it took.

    A dump is played on from its moment; a trace from its beginning, on pools that start empty. Nothing is changed
    anywhere, and the same input gives the same output.
    """
    given = Inputs(**inputs)
    options = options_of(estimator, expanders, seed, keep=keep)
    base = Scenario((), (), options, boot_s=boot_s, loop_s=loop_s)
    stock = table_of(given.machines, read_machines) if given.machines else []
    scenario = _scenario(given, base, Window(from_s, until_s, at_once), stock)
    with Telling() as telling:
        telling.begin("simulating")
        result = play(scenario, telling.done)
        telling.begin("compacting")
        machines: list[Node] = nodes_of(stock, gpus=given.gpus)
        compacted = score(result.busiest, machines, trials=trials, seed=seed, progress=telling.done)
    story = Report(given.title, result, compacted, settings=_settings(scenario, estimator))
    if report is not None:
        written(report, to_html(story).encode(), "--report")
    for line in shown(story, output):
        screen.out().print(line)


def _scenario(given: Inputs, base: Scenario, window: Window, stock: list[TraceMachine]) -> Scenario:
    if given.dump:
        seen = joined(read_dump(given.dump), str(given.definitions))
        snapshot = read_snapshot(seen)
        for bad in snapshot.bad:
            screen.err().print(f"left out: {bad}", style="yellow")
        return from_dump(snapshot, base, window, repack=given.repack)
    pods = table_of(str(given.pods), read_pods)
    if given.role:
        pods = [pod for pod in pods if pod.role == given.role]
    return from_trace(pods, _groups(given, stock), base, window, gpus=given.gpus)


def _groups(given: Inputs, stock: list[TraceMachine]) -> list[NodeGroup]:
    if not given.definitions:
        return groups_of(stock, gpus=given.gpus)
    document = document_of(given.definitions)
    with named(given.definitions):
        return list(read_definitions(document).groups)


def _settings(scenario: Scenario, estimator: Packing) -> list[tuple[str, str]]:
    pods = len(scenario.arrivals) + len(scenario.start.pods)
    pools = ", ".join(group.name for group in scenario.groups[:8]) + (" …" if len(scenario.groups) > 8 else "")
    return [
        ("pods", f"{pods:,}"),
        ("pools", pools),
        ("estimator", estimator.value),
        ("expander", ", ".join(name.value for name in scenario.options.up.expanders)),
        ("loop", f"{scenario.loop_s:g} s"),
        ("boot", f"{scenario.boot_s:g} s"),
    ]
