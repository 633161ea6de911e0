import pytest

from coordinator.core.cpu.asks import Ask, CpuPolicy, Floor, NumaRule
from coordinator.core.cpu.distributed import take_distributed
from coordinator.core.cpu.ioqueues import QueueMap
from coordinator.core.cpu.kubelet import take_packed
from coordinator.core.cpu.pick import pick
from proto.cpuset import mask_of, members, parse, show
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.core.cpu.servers import topology

EIGHT = topology(cores=8)


def chosen(ask: Ask, *, busy: str = "", queues: QueueMap | None = None) -> str:
    held = parse(busy)
    floor = Floor(topology=EIGHT, free=EIGHT.all & ~held, held=held, queues=queues or QueueMap())
    return show(pick(floor, ask))


def cores_of(cpus: str) -> list[int]:
    return [EIGHT.by_cpu[cpu].core for cpu in members(parse(cpus))]


@pytest.mark.parametrize("count", range(1, 9))
def test_spread_takes_a_core_twice_only_when_every_core_is_taken(count: int) -> None:
    cores = cores_of(chosen(Ask(count=count)))
    assert len(cores) == len(set(cores)) == count


def test_spread_takes_second_threads_when_cores_run_out() -> None:
    cores = cores_of(chosen(Ask(count=10)))
    assert sorted(cores.count(core) for core in set(cores)) == [1] * 6 + [2] * 2


def test_spread_prefers_idle_cores_to_those_of_others() -> None:
    assert cores_of(chosen(Ask(count=3), busy="0-2")) != [0, 1, 2]
    assert set(cores_of(chosen(Ask(count=5), busy="0-2"))) == {3, 4, 5, 6, 7}


@pytest.mark.parametrize("count", range(2, 16, 2))
def test_same_core_first_takes_whole_cores(count: int) -> None:
    cores = cores_of(chosen(Ask(count=count, policy=CpuPolicy.SAME_CORE_FIRST)))
    assert all(cores.count(core) == 2 for core in cores)


def test_same_core_first_fills_a_broken_core_with_an_odd_cpu() -> None:
    cpus = chosen(Ask(count=3, policy=CpuPolicy.SAME_CORE_FIRST), busy="5")
    assert 13 in list(members(parse(cpus)))
    assert len(set(cores_of(cpus))) == 2


def test_same_core_first_takes_single_threads_when_no_core_is_whole() -> None:
    assert cores_of(chosen(Ask(count=4, policy=CpuPolicy.SAME_CORE_FIRST), busy="0-7")) == [0, 1, 2, 3]


def test_bind_all_cpus_takes_whatever_nobody_holds() -> None:
    assert chosen(Ask(count=4, policy=CpuPolicy.BIND_ALL_CPUS), busy="0-1") == "2-15"


def test_numa_spread_takes_the_same_number_from_every_node() -> None:
    cpus = chosen(Ask(count=6, policy=CpuPolicy.SAME_CORE_FIRST, numa=NumaRule.SPREAD))
    nodes = [EIGHT.by_cpu[cpu].numa for cpu in members(parse(cpus))]
    assert nodes.count(0) == nodes.count(1) == 3


def test_numa_spread_takes_the_rest_where_there_is_room() -> None:
    cpus = chosen(Ask(count=6, numa=NumaRule.SPREAD), busy="0-3,8-10")
    nodes = [EIGHT.by_cpu[cpu].numa for cpu in members(parse(cpus))]
    assert (nodes.count(0), nodes.count(1)) == (1, 5)


@pytest.mark.parametrize("policy", [CpuPolicy.SPREAD, CpuPolicy.SAME_CORE_FIRST])
@pytest.mark.parametrize("count", range(1, 9))
def test_numa_affinity_keeps_an_instance_on_one_node(policy: CpuPolicy, count: int) -> None:
    cpus = chosen(Ask(count=count, policy=policy, numa=NumaRule.REQUIRE_ONE), busy="4")
    assert len({EIGHT.by_cpu[cpu].numa for cpu in members(parse(cpus))}) == 1


def test_required_affinity_that_cannot_be_had_is_refused_with_numbers() -> None:
    with pytest.raises(DpuError) as refused:
        chosen(Ask(count=8, numa=NumaRule.REQUIRE_ONE), busy="0,4")
    assert refused.value.reason is Reason.EXHAUSTED
    assert "8 CPUs of one NUMA node are asked for, the best node has 7 free" in str(refused.value)


def test_preferred_affinity_falls_back_to_two_nodes() -> None:
    assert parse(chosen(Ask(count=8, numa=NumaRule.PREFER_ONE), busy="0,4")).bit_count() == 8


def test_the_node_of_a_sibling_is_left_out_while_there_is_room() -> None:
    node_0 = mask_of([0, 1, 2, 3, 8, 9, 10, 11])
    assert parse(chosen(Ask(count=8, avoid_numa=node_0))) & node_0 == 0
    assert parse(chosen(Ask(count=9, avoid_numa=node_0))).bit_count() == 9


def test_cpus_are_spread_over_io_queues_before_anything_else() -> None:
    queues = QueueMap({0: parse("0-5,8-13"), 1: parse("6,14"), 2: parse("7,15")})
    cpus = list(members(parse(chosen(Ask(count=3), queues=queues))))
    assert sorted(queues.by_cpu[cpu] for cpu in cpus) == [0, 1, 2]


def test_queues_that_others_use_come_last() -> None:
    queues = QueueMap({0: parse("0-3"), 1: parse("4-7"), 2: parse("8-11"), 3: parse("12-15")})
    cpus = parse(chosen(Ask(count=4), busy="0-1,8-9", queues=queues))
    assert cpus & (queues.queues[0] | queues.queues[2]) == 0


@pytest.mark.parametrize("count", range(1, 12))
def test_a_site_may_keep_kubelets_choice(count: int) -> None:
    free = EIGHT.all & ~parse("1,6,12")
    packed = chosen(Ask(count=count, policy=CpuPolicy.KUBELET_PACKED), busy="1,6,12")
    distributed = chosen(Ask(count=count, policy=CpuPolicy.KUBELET_DISTRIBUTED), busy="1,6,12")
    assert packed == show(take_packed(EIGHT, free, count))
    assert distributed == show(take_distributed(EIGHT, free, count))


def test_a_site_may_keep_koordinators_choice() -> None:
    assert chosen(Ask(count=4, policy=CpuPolicy.KOORDINATOR_FULL_PCPUS)) == "0-1,8-9"
    assert chosen(Ask(count=4, policy=CpuPolicy.KOORDINATOR_SPREAD_BY_PCPUS)) == "0-3"


@pytest.mark.parametrize("policy", list(CpuPolicy))
def test_too_many_cpus_are_refused_by_every_policy(policy: CpuPolicy) -> None:
    with pytest.raises(DpuError) as refused:
        chosen(Ask(count=3, policy=policy), busy="0-13")
    assert "3 CPUs are asked for, 2 are free" in str(refused.value)
