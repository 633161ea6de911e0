"""Whatever pools ask, release, repeat or send late: no server is ever held twice."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coordinator.core.pool.ledger import Ledger
from coordinator.core.pool.lending import Act, PoolKind, Server, ServerPool, plan_lending
from proto.errors import DpuError
from proto.reasons import Reason

NAMES = ("vms", "pods", "metal")
SERVERS = [Server(f"s{n}", owner=(*NAMES, "")[n % 4]) for n in range(12)]
SERVER = st.sampled_from([server.name for server in SERVERS])
POOL = st.sampled_from(NAMES)


class Sharing(RuleBasedStateMachine):
    """Pools as they really are: each believes what it was told, and may be late."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.in_use: dict[str, set[str]] = {name: set() for name in NAMES}
        self.late: list[tuple[str, int]] = []

    def give(self, server: str, pool: str) -> None:
        self.in_use[pool].add(server)

    def attempt(self, change: Callable[[], Ledger]) -> Reason | None:
        try:
            self.ledger = change()
        except DpuError as refused:
            return refused.reason
        return None

    @rule(server=SERVER, pool=POOL)
    def ask(self, server: str, pool: str) -> None:
        refusal = self.attempt(lambda: self.ledger.grant(server, pool))
        assert refusal in {None, Reason.IN_USE}
        if refusal is None:
            self.give(server, pool)

    @rule(server=SERVER, pool=POOL)
    def recall(self, server: str, pool: str) -> None:
        if self.ledger.holder(server):
            self.ledger = self.ledger.recall(server, pool)

    @rule(server=SERVER, repeat=st.booleans())
    def release(self, server: str, repeat: bool) -> None:
        holder = self.ledger.holder(server)
        if holder:
            generation = self.ledger.leases[server].generation
            self.in_use[holder].remove(server)
            self.ledger = self.ledger.release(server, generation)
            if repeat:
                self.late.append((server, generation))

    @rule(data=st.data())
    def repeat_a_release(self, data: st.DataObject) -> None:
        if self.late:
            server, generation = data.draw(st.sampled_from(self.late))
            refusal = self.attempt(lambda: self.ledger.release(server, generation))
            assert refusal in {Reason.STALE_GENERATION, Reason.NOT_FOUND}

    @rule(wanted=st.dictionaries(POOL, st.integers(0, 14)), data=st.data())
    def plan(self, wanted: dict[str, int], data: st.DataObject) -> None:
        pools = [
            ServerPool(
                name, kind, minimum=data.draw(st.integers(0, 3)), maximum=8, priority=data.draw(st.integers(0, 2))
            )
            for name, kind in zip(NAMES, PoolKind, strict=True)
        ]
        planned = plan_lending(pools, SERVERS, self.ledger, wanted)
        for step in planned.transfers:
            if step.act in {Act.GRANT, Act.LEND}:
                assert not self.ledger.holder(step.server)
                self.give(step.server, step.pool)
        self.ledger = planned.ledger

    @invariant()
    def nothing_is_held_twice(self) -> None:
        held = [server for servers in self.in_use.values() for server in servers]
        assert len(held) == len(set(held))
        assert {name: set(self.ledger.held_by(name)) for name in NAMES} == self.in_use


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(POOL, st.integers(0, 20)), st.permutations(SERVERS), st.permutations(NAMES))
def test_the_order_of_servers_and_pools_does_not_matter(
    wanted: dict[str, int], servers: list[Server], names: list[str]
) -> None:
    pools = {name: ServerPool(name, PoolKind.CONTAINERS, minimum=1, maximum=9, priority=len(name)) for name in NAMES}
    expected = plan_lending(pools.values(), SERVERS, Ledger(), wanted)
    assert plan_lending([pools[name] for name in names], servers, Ledger(), wanted) == expected
    for name in NAMES:
        assert len(expected.ledger.held_by(name)) <= 9
