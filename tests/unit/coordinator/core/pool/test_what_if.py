"""Traces, simulated lives and compaction."""

from dataclasses import replace

import pytest

from coordinator.core.pool.compaction import compact
from coordinator.core.pool.estimator import Demand
from coordinator.core.pool.model import Node, NodeGroup, Owner, Phase, Pod
from coordinator.core.pool.options import PoolOptions, ScaleDownOptions
from coordinator.core.pool.parse_objects import parse_pod
from coordinator.core.pool.scheduling import PodShape
from coordinator.core.pool.simulate import Arrival, Scenario, arrivals_of, simulate
from coordinator.core.pool.snapshot import Snapshot
from coordinator.core.pool.traces import GPU, MIB, TraceKind, read_machines, read_pods, recognise
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.core.pool.objects import pod

GIB = 1024**3
OPENB = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
)
DLRM = (
    "instance_sn,role,app_name,cpu_request,gpu_request,memory_request,"
    "max_instance_per_node,creation_time,deletion_time\n"
)


def sized(cpus: float, gib: float = 1) -> PodShape:
    takes = int(cpus * 1000), int(gib * GIB)
    return PodShape("trace", (), (("cpu", takes[0]), ("memory", takes[1])), takes)


def group(cpus: int = 4, maximum: int = 10) -> NodeGroup:
    amounts = {"cpu": cpus * 1000, "memory": cpus * 4 * GIB, "pods": 110}
    return NodeGroup("a", 0, maximum, 0, Node("t", amounts, amounts))


def test_openb_pods_keep_their_sizes_and_times() -> None:
    (found,) = read_pods([OPENB, "p0,12000,16384,1,1000,,LS,Running,5,12537496,0\n"])
    assert (found.cpu_milli, found.memory_bytes, found.created_s, found.deleted_s) == (
        12000,
        16384 * MIB,
        5.0,
        12537496.0,
    )
    assert found.shape().request(GPU) == 0
    assert found.shape(gpus=True).request(GPU) == 1


def test_dlrm_instances_keep_their_application_and_its_limit() -> None:
    one, other = read_pods([DLRM, "i0,HN,app_0,12,1,120.5,8,,\n", "i1,CN,app_1,1.5,0,2,-1,10,\n"])
    assert (one.cpu_milli, one.memory_bytes, one.at_most_per_node, one.created_s) == (12000, int(120.5 * GIB), 8, None)
    assert (other.role, other.application, other.at_most_per_node, other.created_s) == ("CN", "app_1", 0, 10.0)


def test_machines_of_a_trace() -> None:
    (found,) = read_machines(["sn,cpu_milli,memory_mib,gpu,model\n", "m0,96000,393216,8,G2\n"])
    assert (found.cpu_milli, found.memory_bytes, found.gpus, found.model) == (96000, 384 * GIB, 8, "G2")
    assert recognise("sn,cpu_milli,memory_mib,gpu,model") is TraceKind.OPENB_NODES


@pytest.mark.parametrize(
    ("lines", "reason", "field"),
    [
        (["a,b\n", "1,2\n"], Reason.UNSUPPORTED, "header"),
        ([], Reason.UNSUPPORTED, "header"),
        (["sn,cpu_milli,memory_mib\n"], Reason.INVALID, "header"),
        ([OPENB, "p,-1,2,0,0,,LS,Running,0,1,0\n"], Reason.INVALID, "line 2, cpu_milli"),
        ([OPENB, "p,1,lots,0,0,,LS,Running,0,1,0\n"], Reason.INVALID, "line 2, memory_mib"),
        ([OPENB, "p,1,inf,0,0,,LS,Running,0,1,0\n"], Reason.INVALID, "line 2, memory_mib"),
    ],
)
def test_damaged_traces_are_refused_by_line_and_column(lines: list[str], reason: Reason, field: str) -> None:
    with pytest.raises(DpuError) as refused:
        read_pods(lines)
    assert (refused.value.reason, refused.value.field) == (reason, field)
    with pytest.raises(DpuError):
        read_machines([OPENB])


def test_a_burst_grows_the_cluster_and_its_end_empties_it() -> None:
    told: list[float] = []
    arrivals = [Arrival(f"p{n}", sized(1), 100.0, stays_s=3600.0) for n in range(10)]
    found = simulate(Scenario(arrivals, [group()], boot_s=60.0), told.append)
    assert (found.added, found.removed, found.never_started) == (3, 3, ())
    assert found.most_machines == 3
    assert found.waited_percentile(99) == 70.0  # a tick of patience, then the boot
    assert found.samples[-1].machines == 0
    assert max(told) <= 1.0


def test_the_simulation_fills_up_and_tells_what_did_not_start() -> None:
    arrivals = [Arrival(f"p{n}", sized(3), 0.0) for n in range(4)] + [Arrival("huge", sized(99), 0.0)]
    found = simulate(Scenario(arrivals, [group(maximum=3)], boot_s=0.0, until_s=2000.0))
    assert found.never_started == ("huge", "p3")
    assert found.refusals["MaxSizeReached"] > 0
    assert found.samples[-1].cpu_share == 0.75


def test_a_light_machine_is_emptied_onto_another() -> None:
    stays = [Arrival("a", sized(3), 0.0), Arrival("b", sized(1), 0.0), Arrival("c", sized(3), 0.0, stays_s=1000.0)]
    options = PoolOptions(down=ScaleDownOptions(delay_after_add_s=0.0))
    found = simulate(Scenario(stays, [group()], options, boot_s=10.0, until_s=6000.0))
    assert (found.added, found.removed) == (2, 1)
    assert found.samples[-1].machines == 1


def test_the_same_scenario_ends_the_same_way() -> None:
    arrivals = [Arrival(f"p{n}", sized(1 + n % 3), float(37 * n), stays_s=500.0 + n) for n in range(40)]
    scenario = Scenario(arrivals, [group()])
    assert simulate(scenario) == simulate(replace(scenario, arrivals=arrivals[::-1]))


def test_impossible_scenarios_are_refused() -> None:
    with pytest.raises(DpuError, match="has no template"):
        simulate(Scenario([], [replace(group(), template=None)]))
    with pytest.raises(DpuError, match="times run forward"):
        simulate(Scenario([Arrival("p", sized(1), -1.0)], [group()]))


def test_trace_rows_become_arrivals() -> None:
    one, other = arrivals_of([("a", sized(1), 5.0, 9.0), ("b", sized(1), None, None)])
    assert (one.at_s, one.stays_s, other.at_s, other.stays_s) == (5.0, 4.0, 0.0, None)


def machines(number: int, cpus: int = 4) -> list[Node]:
    amounts = {"cpu": cpus * 1000, "memory": cpus * 4 * GIB}
    return [Node(f"m{cpus}-{n}", amounts, amounts) for n in range(number)]


def test_compaction_finds_the_machines_that_are_needed() -> None:
    found = compact(machines(20), [Demand(sized(2), 15)], trials=5)
    assert (found.fits, found.needed, found.score) == (True, (8,) * 5, 8)


def test_mixed_machines_give_a_spread_of_which_the_ninetieth_percentile_counts() -> None:
    found = compact(
        machines(20, 2) + machines(10, 16), [Demand(sized(2), 40), Demand(sized(0.5), 8)], trials=11, seed=1
    )
    assert found.needed[0] < found.needed[-1]
    assert found.score in found.needed


def test_a_load_that_is_too_large_says_so() -> None:
    found = compact(machines(2), [Demand(sized(2), 15)])
    assert (found.fits, found.needed, found.score) == (False, (), 2)


def test_compaction_refuses_pods_that_depend_on_others() -> None:
    ported = parse_pod(pod("p", ports=[{"hostPort": 80}])).shape
    with pytest.raises(DpuError, match="own node only"):
        compact(machines(1), [Demand(ported, 1)])


def begun(pods: list[Pod], nodes: list[Node]) -> Snapshot:
    return Snapshot(0.0, nodes=tuple(nodes), pods=tuple(pods))


def there(number: int) -> list[Node]:
    return [replace(one, group="a", allocatable={**one.allocatable, "pods": 110}) for one in machines(number)]


def test_a_cluster_is_played_on_from_where_it_stands() -> None:
    pods = [Pod("trace", "web", sized(1), node="m4-0"), Pod("trace", "new", sized(3.5), phase=Phase.PENDING)]
    start = begun(pods, there(3))
    found = simulate(Scenario([], [replace(group(), target=3)], start=start))
    assert (found.samples[0].machines, found.samples[-1].machines) == (3, 2)
    assert (found.added, found.removed, found.never_started) == (0, 1, ())
    assert (found.busiest.at_s, len(found.busiest.machines)) == (0.0, 3)


def test_daemon_pods_come_with_a_machine_and_end_with_it() -> None:
    daemon = Pod("trace", "agent", sized(1), owner=Owner("apps/v1", "DaemonSet", "agent"))
    arrivals = [Arrival("p", sized(3), 0.0, stays_s=1000.0), Arrival("q", sized(3), 0.0)]
    found = simulate(Scenario(arrivals, [replace(group(), daemon_pods=(daemon,))]))
    assert (found.added, found.removed) == (2, 1)
    assert (found.busiest.load[0].count, found.samples[-1].running) == (2, 2)


def test_waiting_pods_and_staying_machines_are_told_with_reasons() -> None:
    arrivals = [Arrival("p", sized(3), 0.0), Arrival("huge", sized(99), 0.0)]
    found = simulate(Scenario(arrivals, [group()], until_s=2000.0))
    (reason,) = found.unhelped
    assert reason.startswith("a: template-a has 4 cpu free, the pod needs 99")
    assert found.unhelped[reason] == 1
    assert found.kept["NotUnderutilized"] > 0


def test_a_quiet_cluster_is_not_looked_at_again() -> None:
    arrivals = [Arrival("a", sized(1), 0.0), Arrival("b", sized(1), 1_000_000.0)]
    found = simulate(Scenario(arrivals, [group(maximum=1)], until_s=1_000_100.0))
    assert found.kept["NoPlaceToMovePods"] > 0
    assert found.decisions < 20
