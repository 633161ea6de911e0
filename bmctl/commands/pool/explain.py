"""bmctl pool explain."""

from collections.abc import Iterator
from dataclasses import asdict

import click
import msgspec
from rich.text import Text

from bmctl import screen
from bmctl.columns import Columns
from bmctl.commands.pool.deciding import DUMP, POOLS, deciding, options_of
from bmctl.commands.pool.observing import observe
from bmctl.invocation import Invocation, current, namespaced
from coordinator.core.pool.estimator import Packing
from coordinator.core.pool.explain import PodExplanation, explain_pod
from coordinator.core.pool.explain_node import NodeExplanation, explain_node
from coordinator.core.pool.snapshot import Snapshot
from coordinator.core.pool.snapshot import read as read_snapshot
from proto.errors import DpuError
from proto.reasons import Reason


@click.command()
@click.argument("name", metavar="[NAMESPACE/]POD|NODE")
@DUMP
@POOLS
@deciding
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Form.")
@namespaced
@current
def explain(
    invocation: Invocation,
    name: str,
    dump: str | None,
    definitions: str | None,
    estimator: Packing,
    expanders: tuple[str, ...],
    seed: int,
    output: str,
) -> None:
    """Show why a pod waits, on every node and for every pool, or why a node stays; and the smallest change that helps.

    Without --dump the live cluster is looked at, with its ServerPools, or the pools of --pools in their place.
    """
    snapshot = read_snapshot(observe(invocation, dump, definitions))
    for bad in snapshot.bad:
        screen.err().print(f"left out: {bad}", style="yellow")
    options = options_of(estimator, expanders, seed)
    if any(node.name == name for node in snapshot.nodes):
        said: NodeExplanation | PodExplanation = explain_node(snapshot, name, options)
    else:
        said = explain_pod(snapshot, _key(snapshot, name, invocation.namespace), options)
    if output == "json":
        screen.out().print(msgspec.json.format(msgspec.json.encode(asdict(said)), indent=2).decode())
        return
    for line in _of_node(said) if isinstance(said, NodeExplanation) else _of_pod(said):
        screen.out().print(line)


def _key(snapshot: Snapshot, name: str, namespace: str | None) -> str:
    """The one pod that is meant."""
    if "/" in name:
        return name
    if namespace:
        return f"{namespace}/{name}"
    found = [pod.key for pod in snapshot.pods if pod.name == name]
    if not found:
        remedy = "write it as namespace/name, and see whether the dump has it"
        raise DpuError(Reason.NOT_FOUND, f"there is no pod and no node {name}", field="name", remedy=remedy)
    if len(found) > 1:
        raise DpuError(
            Reason.INVALID, f"{name} may be {', '.join(found)}", field="name", remedy="write it as namespace/name"
        )
    return found[0]


def _of_pod(said: PodExplanation) -> Iterator[Text | str]:
    yield Text(said.sentence, style="bold")
    if said.remedies:
        yield f"smallest change: {'; '.join(said.remedies)}"
    rows = []
    for place in said.places:
        shown = f"new node of {place.name}" if place.new else place.name
        if not place.refusals:
            rows.append((shown, "fits", "", ""))
        for at, refusal in enumerate(place.refusals):
            rows.append(("" if at else shown, refusal.filter.value, refusal.sentence, refusal.remedy))
    if rows:
        yield ""
        yield from Columns(["place", "refused by", "why", "what would help"]).lines(rows)


def _of_node(said: NodeExplanation) -> Iterator[Text | str]:
    yield Text(said.sentence, style="bold")
    if said.obstacles:
        yield ""
        rows = [(one.reason, one.sentence, one.remedy) for one in said.obstacles]
        yield from Columns(["stays because", "why", "what would help"]).lines(rows)
    if said.moves:
        yield ""
        yield from Columns(["pod", "would move to"]).lines(list(said.moves.items()))
