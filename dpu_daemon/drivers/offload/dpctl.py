"""Reads what ovs-vswitchd prints about its datapath; it has no other form than text. Pure.

Own code: the published parser takes 0.1 to 0.5 ms a flow, and there may be tens of thousands.
Source: format_dpif_flow and dpctl_dump_flows in Open vSwitch's lib/dpctl.c, and lines of real runs (tests).
"""

from typing import NamedTuple

from dpu_daemon.model.offload import FlowSeen, Layer, Mark

LAYERS = {layer.value: layer for layer in Layer}
MARKS = {mark.value: mark for mark in Mark}
UFID = "ufid:"
MEGA = "mega_ufid:"
EXTRA = ", dp-extra-info:"
THREAD = "flow-dump from "


class Dump(NamedTuple):
    """What a dump says: flows, how many lines are neither a flow nor the name of a thread, and the first of those."""

    flows: tuple[FlowSeen, ...]
    unread: int
    unread_line: str


def read(dump: str) -> Dump:
    """All of ``dpctl/dump-flows -m --names``; a line that cannot be read whole is counted, never guessed at."""
    flows: list[FlowSeen] = []
    unread, first, thread = 0, "", ""
    for line in dump.split("\n"):
        flow = parse_flow(line, thread)
        if flow is not None:
            flows.append(flow)
        elif line.startswith(THREAD):
            thread = line.removeprefix(THREAD).removesuffix(":")
        elif line.strip():
            unread, first = unread + 1, first or line
    return Dump(tuple(flows), unread, first)


def parse_flow(line: str, thread: str = "") -> FlowSeen | None:
    """One line as a flow; None when it is none."""
    head, _, rest = line.partition(", packets:")
    stats, has_actions, actions = rest.partition(", actions:")
    if not has_actions or not head.startswith(UFID):
        return None
    ufid, _, match = head[len(UFID) :].partition(", ")
    if match.startswith(MEGA):
        match = match.partition(", ")[2]
    packets, _, stats = stats.partition(", bytes:")
    moved, _, stats = stats.partition(",")
    # What is left is ` used:1.2s, offloaded:yes, dp:tc`; the mark and the layer may be missing.
    layer = stats.rpartition(" dp:")[2] if " dp:" in stats else Layer.OVS.value
    mark = stats.partition(" offloaded:")[2].partition(",")[0]
    if not packets.isdecimal() or not moved.isdecimal():
        return None
    start = match.find("in_port(")
    in_port = match[start + 8 : match.find(")", start)] if start >= 0 else ""
    if EXTRA in actions:
        actions = actions.partition(EXTRA)[0]
    return FlowSeen(
        ufid,
        in_port,
        match,
        actions,
        int(packets),
        int(moved),
        LAYERS.get(layer, Layer.OTHER),
        MARKS.get(mark, Mark.OTHER),
        thread,
    )


def datapaths(told: str) -> tuple[str, ...]:
    """Names such as ``system@ovs-system``, of ``dpctl/dump-dps``."""
    return tuple(line.strip() for line in told.splitlines() if "@" in line)


def tells_of_offload(told: str, datapath: str) -> bool:
    """Whether ``upcall/show`` counts offloaded flows of a datapath.

    Up to Open vSwitch 3.6 it does so once ports have a flow API, from 3.7 on while there are such flows.
    """
    _, _, own = ("\n" + told).partition(f"\n{datapath}:\n")
    mine = own.partition("@")[0]
    return "offloaded flows" in mine


def inserted(told: str) -> int | None:
    """Rules in hardware now, of ``dpctl/offload-stats-show``; None where it does not say."""
    for line in told.splitlines():
        name, _, value = line.rpartition(":")
        if name.split() == ["Total", "Inserted", "offloads"] and value.strip().isdecimal():
            return int(value)
    return None


def marked_hits(told: str) -> int:
    """Packets that came with a mark of the hardware's, over all threads of ``dpif-netdev/pmd-stats-show``."""
    total = 0
    for line in told.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "phwol hits" and value.strip().isdecimal():
            total += int(value)
    return total
