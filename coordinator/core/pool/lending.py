"""One stock of servers, shared by pools: who is given what, who lends, and who gives back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from coordinator.core.pool.ledger import Ledger
from coordinator.core.pool.selectors import Selector


class PoolKind(Enum):
    """What a pool's servers are used as."""

    VIRTUAL_MACHINES = "vm"
    CONTAINERS = "container"
    BARE_METAL = "bare-metal"


@dataclass(frozen=True, slots=True)
class Server:
    """A server of the stock; ``owner`` is the pool it comes back to, empty for common ones."""

    name: str
    owner: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class ServerPool:
    """A claim on the stock.

    Attributes:
        minimum: servers it is sure of, even at the cost of pools with lower priority.
        maximum: servers it may hold.
        priority: the higher is served first.
        selector: labels a server must have.
        lends: whether its idle servers may be used by others.
    """

    name: str
    kind: PoolKind
    minimum: int = 0
    maximum: int = 2**31
    priority: int = 0
    selector: Selector = field(default_factory=Selector)
    lends: bool = True


class Act(Enum):
    """What to do with a server."""

    GRANT = "grant"
    LEND = "lend"
    RECALL = "recall"
    UNRESERVE = "unreserve"


@dataclass(frozen=True, slots=True)
class Transfer:
    """One step: a server, the pool it is for, the pool it comes from, and why."""

    act: Act
    server: str
    pool: str
    giver: str
    sentence: str


@dataclass(frozen=True, slots=True)
class LendingPlan:
    """Steps in order, the ledger after them, and what each pool still lacks."""

    transfers: tuple[Transfer, ...]
    ledger: Ledger
    short: Mapping[str, int]
    sentence: str


def plan_lending(
    pools: Iterable[ServerPool], servers: Iterable[Server], ledger: Ledger, wanted: Mapping[str, int]
) -> LendingPlan:
    """Serve each pool's wish, within its minimum and maximum, from one stock.

    A pool gets its own idle servers first, then common ones, then what others lend. What an owner has lent is
    recalled when it needs it; a pool below its minimum also recalls common servers from pools of lower priority
    that are above theirs. A server changes hands only after its holder has released it.

    Args:
        pools: claims on the stock.
        servers: the stock.
        ledger: who holds what now.
        wanted: servers that each pool has use for.
    """
    ranked = sorted(pools, key=lambda pool: (-pool.priority, pool.name))
    planner = _Planner(ranked, sorted(servers, key=lambda server: server.name), ledger, wanted)
    planner.drop_stale_reservations()
    for lend in (False, True):
        for pool in ranked:
            planner.serve(pool, lend=lend)
    for pool in ranked:
        planner.recall_own(pool)
    for pool in ranked:
        planner.recall_for_minimum(pool)
    return planner.plan()


class _Planner:
    def __init__(
        self, pools: Sequence[ServerPool], servers: Sequence[Server], ledger: Ledger, wanted: Mapping[str, int]
    ) -> None:
        self._pools = {pool.name: pool for pool in pools}
        self._servers = servers
        self._ledger = ledger
        self._targets = {p.name: min(max(wanted.get(p.name, 0), p.minimum), p.maximum) for p in pools}
        self._steps: list[Transfer] = []

    def _held(self, pool: str) -> int:
        return sum(lease.holder == pool and not lease.recalled_for for lease in self._ledger.leases.values())

    def _coming(self, pool: str) -> int:
        return sum(lease.recalled_for == pool for lease in self._ledger.leases.values())

    def _need(self, pool: ServerPool) -> int:
        return self._targets[pool.name] - self._held(pool.name) - self._coming(pool.name)

    def drop_stale_reservations(self) -> None:
        """Free servers that wait for a pool which has enough by now, or is gone."""
        for server, name in sorted(self._ledger.reserved.items()):
            pool = self._pools.get(name)
            if pool is None or self._held(name) >= self._targets[name]:
                self._ledger = self._ledger.unreserve(server)
                self._steps.append(Transfer(Act.UNRESERVE, server, name, "", f"{name} no longer needs {server}"))

    def serve(self, pool: ServerPool, *, lend: bool) -> None:
        """Give a pool free servers: its own and common ones, or those that others lend."""
        for server in self._free_for(pool, lend=lend):
            if self._need(pool) <= 0 or self._held(pool.name) >= pool.maximum:
                return
            act, giver = (Act.LEND, server.owner) if lend else (Act.GRANT, "")
            words = f"{giver} lends {server.name} to {pool.name}" if lend else f"{pool.name} gets {server.name}"
            self._ledger = self._ledger.grant(server.name, pool.name)
            self._steps.append(Transfer(act, server.name, pool.name, giver, words))

    def _free_for(self, pool: ServerPool, *, lend: bool) -> list[Server]:
        free = [
            server
            for server in self._servers
            if server.healthy
            and not self._ledger.holder(server.name)
            and self._ledger.reserved.get(server.name, pool.name) == pool.name
            and pool.selector.matches(server.labels)
            and self._is_foreign(server, pool) == lend
        ]
        if lend:
            free = [server for server in free if self._pools[server.owner].lends]
        return sorted(free, key=lambda one: (one.name not in self._ledger.reserved, not one.owner, one.name))

    def _is_foreign(self, server: Server, pool: ServerPool) -> bool:
        return server.owner in self._pools and server.owner != pool.name

    def recall_own(self, pool: ServerPool) -> None:
        """Ask back what the pool has lent, from the pools of lowest priority first."""
        lent = [s for s in self._servers if s.owner == pool.name and self._ledger.holder(s.name) not in {"", pool.name}]
        self._recall(pool, lent, self._need(pool), "its owner needs it")

    def recall_for_minimum(self, pool: ServerPool) -> None:
        """Ask lower pools for common servers that they hold above their minimum."""
        lacking = pool.minimum - self._held(pool.name) - self._coming(pool.name)
        common = [
            server
            for server in self._servers
            if not server.owner
            and (giver := self._pools.get(self._ledger.holder(server.name))) is not None
            and giver.priority < pool.priority
        ]
        self._recall(pool, common, lacking, f"{pool.name} is below its minimum", keep_minimum=True)

    def _recall(
        self, pool: ServerPool, servers: Sequence[Server], number: int, why: str, *, keep_minimum: bool = False
    ) -> None:
        def rank(server: Server) -> tuple[int, str]:
            giver = self._pools.get(self._ledger.holder(server.name))
            return (giver.priority if giver is not None else -(2**31), server.name)

        for server in sorted(servers, key=rank):
            giver = self._ledger.holder(server.name)
            held = self._pools.get(giver)
            if number <= 0:
                return
            if self._ledger.leases[server.name].recalled_for or not pool.selector.matches(server.labels):
                continue
            if keep_minimum and held is not None and self._held(giver) <= held.minimum:
                continue
            self._ledger = self._ledger.recall(server.name, pool.name)
            words = f"{giver} is to give {server.name} back to {pool.name}: {why}"
            self._steps.append(Transfer(Act.RECALL, server.name, pool.name, giver, words))
            number -= 1

    def plan(self) -> LendingPlan:
        """What was decided."""
        short = {name: self._targets[name] - self._held(name) for name in sorted(self._pools)}
        short = {name: number for name, number in short.items() if number > 0}
        lacking = ", ".join(f"{name} lacks {number}" for name, number in short.items())
        counts = {act: sum(step.act is act for step in self._steps) for act in Act}
        done = ", ".join(f"{number} {act.value}" for act, number in counts.items() if number)
        sentence = "; ".join(part for part in (done, lacking) if part) or "every pool has what it wants"
        return LendingPlan(tuple(self._steps), self._ledger, short, sentence)
