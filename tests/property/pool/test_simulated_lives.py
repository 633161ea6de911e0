"""Whatever arrives and leaves: no machine is overfull, no group beyond its maximum, no pod forgotten."""

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.pool.estimator import Packing
from coordinator.core.pool.model import Node, NodeGroup
from coordinator.core.pool.options import PoolOptions, ScaleDownOptions, ScaleUpOptions
from coordinator.core.pool.scheduling import PodShape
from coordinator.core.pool.simulate import Arrival, Scenario, simulate

GIB = 1024**3


def shape(cpus: int, gib: int) -> PodShape:
    takes = cpus * 1000, gib * GIB
    return PodShape("trace", (), (("cpu", takes[0]), ("memory", takes[1])), takes)


@st.composite
def arrivals(draw: st.DrawFn) -> list[Arrival]:
    stays = st.one_of(st.none(), st.floats(1, 5000))
    return [
        Arrival(f"p{n}", shape(draw(st.integers(1, 4)), draw(st.integers(1, 8))), draw(st.floats(0, 4000)), draw(stays))
        for n in range(draw(st.integers(1, 25)))
    ]


@st.composite
def groups(draw: st.DrawFn) -> list[NodeGroup]:
    made = []
    for number, cpus in enumerate(draw(st.lists(st.sampled_from([4, 8]), min_size=1, max_size=2))):
        amounts = {"cpu": cpus * 1000, "memory": cpus * 4 * GIB, "pods": 20}
        made.append(NodeGroup(f"g{number}", 0, draw(st.integers(1, 30)), 0, Node(f"t{number}", amounts, amounts)))
    return made


@settings(max_examples=60, deadline=None)
@given(arrivals(), groups(), st.sampled_from(Packing), st.floats(0, 300))
def test_a_life_keeps_its_promises(
    coming: list[Arrival], given_groups: list[NodeGroup], packing: Packing, boot_s: float
) -> None:
    options = PoolOptions(
        up=ScaleUpOptions(packing=packing), down=ScaleDownOptions(packing=packing, delay_after_add_s=60, max_drain=3)
    )
    found = simulate(Scenario(coming, given_groups, options, boot_s=boot_s, until_s=40_000))
    most = sum(group.maximum for group in given_groups)
    for sample in found.samples:
        assert sample.machines <= most
        assert sample.cpu_share <= 1.0
        assert sample.memory_share <= 1.0
    assert len(found.waited_s) + len(found.never_started) >= len(coming)
    assert all(waited_s >= 0 for waited_s in found.waited_s)
    if most >= len(coming):
        assert found.never_started == ()
    if all(arrival.stays_s is not None for arrival in coming) and not found.never_started:
        assert found.samples[-1].machines == 0


def test_a_machine_goes_although_nothing_else_is_to_come() -> None:
    """The last pod leaves while its machine is held back from another look."""
    amounts = {"cpu": 4000, "memory": 16 * GIB, "pods": 20}
    group = NodeGroup("g", 0, 1, 0, Node("t", amounts, amounts))
    options = PoolOptions(down=ScaleDownOptions(delay_after_add_s=60))
    coming = [Arrival("p", shape(1, 1), 0.0, 51.0)]
    found = simulate(Scenario(coming, [group], options, boot_s=0.0, until_s=40_000))
    assert found.samples[-1].machines == 0
