"""Our own choices of CPUs: over physical cores, or core by core; fairly over I/O queues.

The order within a choice is: least used I/O queue, then least used NUMA node, then least used core, then the lowest
number; so that the same request on the same node always gets the same CPUs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace

from coordinator.core.cpu.asks import Ask, CpuPolicy, Floor, NumaRule
from coordinator.core.cpu.topology import Level, Topology
from proto.cpuset import Mask, lowest, members
from proto.errors import DpuError
from proto.reasons import Reason


def pick_own(floor: Floor, ask: Ask) -> Mask:
    """The CPUs for a request that there are enough free ones for.

    Raises:
        DpuError: EXHAUSTED when no one NUMA node has enough and one is required.
    """
    preferred = floor.free & ~ask.avoid_numa
    pool = preferred if preferred.bit_count() >= ask.count else floor.free
    if ask.numa is NumaRule.SPREAD:
        return _over_nodes(floor, pool, ask)
    if ask.numa is not NumaRule.ANY:
        for candidates in (pool, floor.free):
            home = _best_home(floor.topology, candidates, ask)
            if home:
                return _take(floor, home, ask.count, ask.policy)
        if ask.numa is NumaRule.REQUIRE_ONE:
            most = max((node & floor.free).bit_count() for node in floor.topology.units[Level.NUMA].values())
            raise DpuError(
                Reason.EXHAUSTED,
                f"{ask.count} CPUs of one NUMA node are asked for, the best node has {most} free",
                field="numa",
                remedy="ask for fewer, prefer one node instead of requiring it, or release some",
            )
    return _take(floor, pool, ask.count, ask.policy)


def _best_home(topology: Topology, pool: Mask, ask: Ask) -> Mask:
    """Free CPUs of the NUMA node that fits best: whole cores where they count, then the fewest free, then its id."""
    threads = topology.average(Level.CORE)
    best: tuple[tuple[int, int, int], Mask] | None = None
    for node, cpus in topology.units[Level.NUMA].items():
        here = cpus & pool
        if here.bit_count() < ask.count:
            continue
        short = 0
        if ask.policy is CpuPolicy.SAME_CORE_FIRST:
            short = max(0, ask.count - threads - _whole(topology, here) * threads + threads - 1)
        key = (short, here.bit_count(), node)
        if best is None or key < best[0]:
            best = (key, here)
    return best[1] if best else 0


def _whole(topology: Topology, pool: Mask) -> int:
    return sum(cpus & pool == cpus for cpus in topology.units[Level.CORE].values())


def _over_nodes(floor: Floor, pool: Mask, ask: Ask) -> Mask:
    """The same number from every node; a node that has fewer gives all, the rest comes from the freest."""
    rooms = {node: cpus & pool for node, cpus in floor.topology.units[Level.NUMA].items() if cpus & pool}
    shares = dict.fromkeys(rooms, 0)
    for _ in range(ask.count):
        node = min(
            (node for node in rooms if shares[node] < rooms[node].bit_count()),
            key=lambda node: (shares[node], -rooms[node].bit_count(), node),
        )
        shares[node] += 1
    taken = 0
    for node, share in shares.items():
        taken |= _take(floor, rooms[node], share, ask.policy)
    return taken


def _take(floor: Floor, pool: Mask, count: int, policy: CpuPolicy) -> Mask:
    if policy is CpuPolicy.SPREAD:
        return _spread(floor, pool, count)
    return _core_by_core(floor, pool, count)


@dataclass(slots=True)
class _Uses:
    """How much of each queue and NUMA node is in use, as CPUs are taken. Queue -1 stands for none and stays unused."""

    queues: dict[int, int]
    nodes: dict[int, int]

    @classmethod
    def of(cls, floor: Floor) -> "_Uses":
        queues = {queue: (cpus & floor.held).bit_count() for queue, cpus in floor.queues.queues.items()}
        nodes = {node: (cpus & floor.held).bit_count() for node, cpus in floor.topology.units[Level.NUMA].items()}
        return cls({-1: 0, **queues}, nodes)


@dataclass(slots=True)
class _Shelf:
    """Offers of one NUMA node and the same queues, the best last: how much of the core is taken, core, CPUs."""

    queues: tuple[int, ...]
    node: int
    offers: list[tuple[int, int, Mask]]

    def key(self, uses: _Uses) -> tuple[int, int, int, int]:
        taken, core, _ = self.offers[-1]
        return (max(uses.queues[queue] for queue in self.queues), uses.nodes[self.node], taken, core)

    def count_in(self, uses: _Uses, cpus: Mask) -> None:
        """These CPUs of an offer are in use from now on."""
        uses.nodes[self.node] += cpus.bit_count()
        for queue in self.queues:
            uses.queues[queue] += queue >= 0


def _shelves(floor: Floor, offers: Iterable[tuple[int, Mask, Mask]]) -> list[_Shelf]:
    """Offers (core, its free CPUs, those of them on offer) by NUMA node and queues; idle cores first."""
    by_cpu, place, cores = floor.queues.by_cpu, floor.topology.by_cpu, floor.topology.units[Level.CORE]
    found: dict[tuple[int, tuple[int, ...]], _Shelf] = {}
    for core, free, offer in offers:
        node = place[(offer & -offer).bit_length() - 1].numa
        queues = tuple(sorted({by_cpu.get(cpu, -1) for cpu in members(offer)})) if by_cpu else (-1,)
        shelf = found.setdefault((node, queues), _Shelf(queues, node, []))
        shelf.offers.append((cores[core].bit_count() - free.bit_count(), core, offer))
    for shelf in found.values():
        shelf.offers.sort(reverse=True)
    return list(found.values())


def _best_offers(shelves: list[_Shelf], uses: _Uses, count: int) -> Mask:
    """Take offers, the least used first and one of each core, while they fit into `count`.

    Uses only grow, so that a key on the heap is never too high: an outdated one is renewed when it comes up.
    """
    heap = [(shelf.key(uses), number) for number, shelf in enumerate(shelves)]
    heapify(heap)
    taken, visited = 0, set[int]()
    while heap and count:
        known, number = heap[0]
        shelf = shelves[number]
        now = shelf.key(uses)
        if now != known:
            heapreplace(heap, (now, number))
            continue
        _, core, cpus = shelf.offers.pop()
        if core not in visited and cpus.bit_count() <= count:
            visited.add(core)
            taken |= cpus
            count -= cpus.bit_count()
            shelf.count_in(uses, cpus)
        if shelf.offers:
            heapreplace(heap, (shelf.key(uses), number))
        else:
            heappop(heap)
    return taken


def _spread(floor: Floor, pool: Mask, count: int) -> Mask:
    """Round by round one CPU of every core that still has one."""
    uses, taken, cores = _Uses.of(floor), 0, floor.topology.units[Level.CORE]
    while count:
        left = pool & ~taken
        offers = (
            (core, cpus & left, offer)
            for core, cpus in cores.items()
            if cpus & left
            for offer in _singles(floor, cpus & left)
        )
        got = _best_offers(_shelves(floor, offers), uses, count)
        taken |= got
        count -= got.bit_count()
    return taken


def _singles(floor: Floor, cpus: Mask) -> Iterable[Mask]:
    """The CPUs of a core that differ for the choice: all when they may have queues of their own, else the lowest."""
    if not floor.queues.queues:
        return (lowest(cpus, 1),)
    return (1 << cpu for cpu in members(cpus))


def _core_by_core(floor: Floor, pool: Mask, count: int) -> Mask:
    """Whole cores while they fit; the rest from the core that it leaves least of, else from whatever is most whole."""
    uses, cores = _Uses.of(floor), floor.topology.units[Level.CORE]
    whole = ((core, cpus, cpus) for core, cpus in cores.items() if cpus & pool == cpus)
    taken = _best_offers(_shelves(floor, whole), uses, count)
    rest = count - taken.bit_count()
    if not rest:
        return taken
    left = {core: cpus & pool & ~taken for core, cpus in cores.items() if cpus & pool & ~taken}
    enough = min((cpus.bit_count() for cpus in left.values() if cpus.bit_count() >= rest), default=0)
    if enough:
        fitting = ((core, cpus, lowest(cpus, rest)) for core, cpus in left.items() if cpus.bit_count() == enough)
        return taken | _best_offers(_shelves(floor, fitting), uses, rest)
    for core in sorted(left, key=lambda core: (-left[core].bit_count(), core)):
        taken |= lowest(left[core], count - taken.bit_count())
    return taken
