"""What moved between two looks: counters for metrics, and flows that carry much and stay in software; pure."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from dpu_daemon.model.offload import Judged, OffloadReport, PortSeen, Verdict, Why
from dpu_daemon.plan.offload_words import brief, why_words

SHOWN = 20
"""Heavy flows that are remembered by themselves."""
NOT_HEAVY = frozenset({Verdict.HARDWARE, Verdict.PARTIAL, Verdict.NOT_ASKED})


@dataclass(frozen=True, slots=True)
class Heavy:
    """A flow that carried so many packets between two looks, outside hardware."""

    judged: Judged
    packets: int


@dataclass(frozen=True, slots=True)
class Missed:
    """Traffic of a port that could be in hardware and is not."""

    netdev: str
    why: Why
    sentence: str


@dataclass(slots=True)
class Moved:
    """Packets and bytes since the daemon started, as far as looks saw them."""

    packets: Counter[Verdict] = field(default_factory=Counter)
    bytes: Counter[Verdict] = field(default_factory=Counter)
    port_packets: Counter[tuple[str, Verdict]] = field(default_factory=Counter)


class Tally:
    """Compares each look with the one before.

    Args:
        heavy_packets: from how many packets on a flow is heavy.
    """

    def __init__(self, heavy_packets: int) -> None:
        self._threshold = heavy_packets
        self._before: dict[str, tuple[int, int]] | None = None
        self.moved = Moved()
        self.heavy: tuple[Heavy, ...] = ()
        self.heavy_by_why: Counter[Why] = Counter()
        self.missed: tuple[Missed, ...] = ()

    def take(self, report: OffloadReport) -> None:
        """The newest look; of the first one nothing is known to have moved."""
        now = {one.flow.ufid: (one.flow.packets, one.flow.bytes) for one in report.flows}
        heavy: list[Heavy] = []
        for one in report.flows if self._before is not None else ():
            packets, moved = self._since(one)
            self.moved.packets[one.verdict] += packets
            self.moved.bytes[one.verdict] += moved
            self.moved.port_packets[one.flow.in_port, one.verdict] += packets
            if packets >= self._threshold and one.verdict not in NOT_HEAVY:
                heavy.append(Heavy(one, packets))
        self._before = now
        self._forget(report)
        heavy.sort(key=lambda one: (-one.packets, one.judged.flow.ufid))
        self.heavy = tuple(heavy[:SHOWN])
        self.heavy_by_why = Counter(one.judged.why for one in heavy)
        self.missed = tuple(_missed(heavy, report))

    def _since(self, judged: Judged) -> tuple[int, int]:
        """Packets and bytes of a flow since the last look; one that was made anew begins at nothing."""
        flow = judged.flow
        packets, moved = (self._before or {}).get(flow.ufid, (0, 0))
        if flow.packets < packets or flow.bytes < moved:
            return flow.packets, flow.bytes
        return flow.packets - packets, flow.bytes - moved

    def _forget(self, report: OffloadReport) -> None:
        """Ports that are gone leave no series behind."""
        there = {one.port.netdev for one in report.ports}
        for key in [key for key in self.moved.port_packets if key[0] not in there]:
            del self.moved.port_packets[key]


def _missed(heavy: list[Heavy], report: OffloadReport) -> list[Missed]:
    """One line for each port and reason that could be mended."""
    together: dict[tuple[str, Why], list[Heavy]] = defaultdict(list)
    for one in heavy:
        if one.judged.why.avoidable:
            together[one.judged.flow.in_port, one.judged.why].append(one)
    ports = {one.port.netdev: one.port for one in report.ports}
    found = []
    for (netdev, why), flows in sorted(together.items(), key=lambda item: (item[0][0], item[0][1].value)):
        port = ports.get(netdev) or PortSeen(netdev=netdev)
        worst = flows[0].judged.flow
        packets = sum(one.packets for one in flows)
        sentence = (
            f"{packets} packets in {len(flows)} flows that enter {netdev} stayed in software since the last look: "
            f"{why_words(why, port, skb_ext=report.skb_ext)}; the heaviest: {brief(worst.match)}, "
            f"actions {worst.actions}"
        )
        found.append(Missed(netdev, why, sentence))
    return found
