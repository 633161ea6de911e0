"""What moved between two looks: counters for metrics, and flows that carry much and stay in software; pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from dpu_daemon.model.offload import FlowSeen, Judged, OffloadReport, PortSeen, Verdict, Why
from dpu_daemon.plan.offload_words import brief, shortened, why_words

SHOWN = 20
"""Heavy flows that are remembered by themselves, and ports that are warned of at a time: the worst ones."""
WORDS_SHOWN = 300
"""Characters of a match or of actions in a sentence: a flooded packet's actions name every port."""
NOT_HEAVY = frozenset({Verdict.HARDWARE, Verdict.PARTIAL, Verdict.NOT_ASKED})

Key = tuple[str, str]
Counts = Mapping[Key, tuple[int, int]]
"""Packets and bytes by ufid and thread."""


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


@dataclass(frozen=True, slots=True)
class Weighed:
    """What is heavy by one look."""

    heavy: tuple[Heavy, ...] = ()
    by_why: Counter[Why] = field(default_factory=Counter)
    missed: tuple[Missed, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """A look beside the one before; `weighed` is None when it was not to be weighed."""

    now: Counts
    moved: Moved
    ports: frozenset[str]
    weighed: Weighed | None


class Tally:
    """Compares each look with the one before.

    Args:
        heavy_packets: from how many packets on a flow is heavy.
    """

    def __init__(self, heavy_packets: int) -> None:
        self._threshold = heavy_packets
        self._before: Counts | None = None
        self._weighed_before: Counts | None = None
        self.moved = Moved()
        self.heavy: tuple[Heavy, ...] = ()
        self.heavy_by_why: Counter[Why] = Counter()
        self.missed: tuple[Missed, ...] = ()

    def take(self, report: OffloadReport, *, weigh: bool = True) -> None:
        """The newest look; of the first one nothing is known to have moved.

        Args:
            report: of the look.
            weigh: whether to say anew what is heavy; not after a look that came out of turn, when less has moved.
        """
        self.adopt(self.compare(report, weigh=weigh))

    def compare(self, report: OffloadReport, *, weigh: bool) -> Compared:
        """What a look shows; changes nothing, and takes a while when there are many flows."""
        now = {_key(one.flow): (one.flow.packets, one.flow.bytes) for one in report.flows}
        moved = Moved()
        for one in report.flows if self._before is not None else ():
            packets, size = _since(self._before or {}, one.flow)
            moved.packets[one.verdict] += packets
            moved.bytes[one.verdict] += size
            moved.port_packets[one.flow.in_port, one.verdict] += packets
        ports = frozenset(one.port.netdev for one in report.ports)
        return Compared(now, moved, ports, self._weigh(report) if weigh else None)

    def adopt(self, compared: Compared) -> None:
        """Go on from a look."""
        self._before = compared.now
        self.moved.packets.update(compared.moved.packets)
        self.moved.bytes.update(compared.moved.bytes)
        self.moved.port_packets.update(compared.moved.port_packets)
        # Ports that are gone leave no series behind.
        for key in [key for key in self.moved.port_packets if key[0] not in compared.ports]:
            del self.moved.port_packets[key]
        if compared.weighed is not None:
            self._weighed_before = compared.now
            self.heavy, self.missed = compared.weighed.heavy, compared.weighed.missed
            self.heavy_by_why = compared.weighed.by_why

    def _weigh(self, report: OffloadReport) -> Weighed:
        before = self._weighed_before
        if before is None:
            return Weighed()
        heavy: list[Heavy] = []
        for one in report.flows:
            packets, _ = _since(before, one.flow) if one.verdict not in NOT_HEAVY else (0, 0)
            if packets >= self._threshold:
                heavy.append(Heavy(one, packets))
        heavy.sort(key=lambda one: (-one.packets, one.judged.flow.ufid))
        return Weighed(tuple(heavy[:SHOWN]), Counter(one.judged.why for one in heavy), _missed(heavy, report))


def _key(flow: FlowSeen) -> Key:
    return flow.ufid, flow.thread


def _since(before: Counts, flow: FlowSeen) -> tuple[int, int]:
    """Packets and bytes of a flow since a look; one that was made anew begins at nothing."""
    packets, moved = before.get(_key(flow), (0, 0))
    if flow.packets < packets or flow.bytes < moved:
        return flow.packets, flow.bytes
    return flow.packets - packets, flow.bytes - moved


def _missed(heavy: list[Heavy], report: OffloadReport) -> tuple[Missed, ...]:
    """One line for each port and reason that could be mended, of those that carry most."""
    together: dict[tuple[str, Why], list[Heavy]] = defaultdict(list)
    for one in heavy:
        if one.judged.why.avoidable:
            together[one.judged.flow.in_port, one.judged.why].append(one)
    worst = sorted(together.items(), key=lambda item: -sum(one.packets for one in item[1]))[:SHOWN]
    ports = {one.port.netdev: one.port for one in report.ports}
    found = []
    for (netdev, why), flows in sorted(worst, key=lambda item: (item[0][0], item[0][1].value)):
        port = ports.get(netdev) or PortSeen(netdev=netdev)
        heaviest = flows[0].judged.flow
        packets = sum(one.packets for one in flows)
        sentence = (
            f"{packets} packets in {len(flows)} flows that enter {netdev} stayed in software since the last look: "
            f"{why_words(why, port, skb_ext=report.skb_ext)}; the heaviest: "
            f"{shortened(brief(heaviest.match), WORDS_SHOWN)}, actions {shortened(heaviest.actions, WORDS_SHOWN)}"
        )
        found.append(Missed(netdev, why, sentence))
    return tuple(found)
