"""bmctl offload."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import click
from rich.text import Text

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.columns import Columns
from bmctl.completing import names_of
from bmctl.invocation import Invocation, connected, current
from bmctl.kinds import DPU, NETWORK_NODE, Kind
from bmctl.objects import Object, dig, name_of
from bmctl.output import to_yaml
from proto.errors import DpuError
from proto.reasons import Reason

WORD = "offload"
USUAL_FLOWS = 20
PASSING = frozenset({Reason.UNAVAILABLE, Reason.DEADLINE})
"""What is told while a switch or its daemon is restarted."""
MOST_FLOWS = 2000
PORTS = ["Port", "Of", "Where", "In hardware", "Packets", "Why"]
FLOWS = ["Enters at", "Where", "Layer", "Packets", "Match", "Actions", "Why"]


@dataclass(frozen=True)
class Switch:
    """What has a switch, by its object."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Wanted:
    """What of a switch is shown."""

    query: dict[str, str]
    output: str


@click.command()
@click.argument("name", required=False, shell_complete=names_of(DPU))
@click.option("--flows", "count", type=click.IntRange(1, MOST_FLOWS), metavar="N", help="The N heaviest flows, too.")
@click.option("--software", is_flag=True, help="Flows outside hardware alone.")
@click.option("--port", default="", metavar="NETDEV", help="Flows that enter there alone.")
@click.option("-w", "--watch", is_flag=True, help="Look again and again.")
@click.option(
    "--interval", "interval_s", type=click.FloatRange(min=1.0), default=5.0, show_default=True, metavar="SECONDS",
    help="Between looks.",
)  # fmt: skip
@click.option("--count", "looks", type=click.IntRange(min=1), metavar="N", help="End after so many looks of --watch.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", help="Form.")
@connected
@current
def offload(
    invocation: Invocation,
    name: str | None,
    count: int | None,
    software: bool,
    port: str,
    watch: bool,
    interval_s: float,
    looks: int | None,
    output: str,
) -> None:
    """Show for each port what was asked of the hardware, what is there, what is in software, and why.

    NAME is a DPU, or a node with a switch of its own; all of them when absent.
    """
    if looks is not None and not watch:
        raise click.UsageError("--count goes with --watch")
    query = {"flows": str(count or USUAL_FLOWS)} if count or software or port else {}
    query |= {"software": "true"} if software else {}
    query |= {"port": port} if port else {}
    with open_api(invocation) as api:
        switches = [the_switch(api, name)] if name else all_switches(api)
        shown = _show(api, switches, Wanted(query, output))
        for _ in range(1, (looks or 1 << 62) if watch else 1):
            time.sleep(interval_s)
            _show(api, switches, Wanted(query, output), again=True)
    if not shown:
        raise click.exceptions.Exit(1)


def the_switch(api: Api, name: str) -> Switch:
    """The DPU of this name, or the node.

    Raises:
        DpuError: NOT_FOUND.
    """
    for kind in (DPU, NETWORK_NODE):
        if api.find(kind, name) is not None:
            return Switch(kind, name)
    message = f"there is neither a DPU nor a network node {name}"
    raise DpuError(Reason.NOT_FOUND, message, field="NAME", remedy="see `bmctl get dpus,networknodes`")


def all_switches(api: Api) -> list[Switch]:
    """All DPUs, and the nodes whose switch is not that of a DPU."""
    dpus = api.list(DPU).get("items") or []
    nodes = [node for node in api.list(NETWORK_NODE).get("items") or [] if not dig(node, "spec.dpuRef")]
    return [Switch(DPU, name_of(one)) for one in dpus] + [Switch(NETWORK_NODE, name_of(one)) for one in nodes]


def _show(api: Api, switches: list[Switch], wanted: Wanted, *, again: bool = False) -> bool:
    """Look at all once; whether any answered. One that did before and is away for a while ends no watch."""
    replies: list[Object] = []
    for position, switch in enumerate(switches):
        try:
            reply = api.ask_about(switch.kind, switch.name, WORD, wanted.query)
        except DpuError as error:
            if len(switches) == 1 and not (again and error.reason in PASSING):
                raise
            screen.err().print(f"{switch.kind.word}/{switch.name}: {error}", style="red")
            continue
        replies.append(reply)
        if wanted.output == "table":
            for line in ([Text()] if position else []) + list(lines_of(switch, reply)):
                screen.out().print(line)
    if wanted.output != "table" and (replies or not again):
        whole: Object = replies[0] if len(switches) == 1 else {"kind": "List", "apiVersion": "v1", "items": replies}
        screen.out().print(json.dumps(whole, indent=2) if wanted.output == "json" else to_yaml(whole).rstrip("\n"))
    if not switches:
        screen.err().print("no DPUs and no network nodes", style="dim")
    return bool(replies) or not switches


def lines_of(switch: Switch, reply: Object) -> Iterator[Text]:
    """A switch on the screen: the sentence, warnings, ports, flows."""
    report = reply["offload"]
    yield Text(f"{switch.kind.word}/{switch.name}", style="bold").append(f"  {report['sentence']}", style="none")
    if report["abilities"]:
        yield Text("  " + ", ".join(report["abilities"]), style="dim")
    for warning in report["warnings"]:
        yield Text(f"  warning: {warning}", style="yellow")
    if report["ports"]:
        yield from Columns(PORTS).lines([port_row(port) for port in report["ports"]])
    flows = reply.get("flows")
    if flows is not None:
        yield Text()
        yield from Columns(FLOWS).lines([flow_row(flow) for flow in flows]) if flows else [Text("no such flows")]


def port_row(port: Object) -> list[str]:
    """A port's line."""
    return [
        str(port["netdev"]),
        str(port["portId"] or "-"),
        str(port["verdict"]),
        f"{port['flowsInHardware']} of {port['flows']} flows",
        share(int(port["packetsInHardware"]), int(port["packets"])),
        str(port["why"]),
    ]


def flow_row(flow: Object) -> list[str]:
    """A flow's line."""
    named = ("inPort", "verdict", "layer", "packets", "match", "actions", "why")
    return [str(flow[name]) for name in named]


def share(part: int, whole: int) -> str:
    """A part of packets, such as ``98 % of 12000``."""
    return f"{100 * part / whole:.0f} % of {whole}" if whole else "-"
