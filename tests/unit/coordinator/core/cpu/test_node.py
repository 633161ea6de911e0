from dataclasses import replace

import pytest

from coordinator.core.cpu.admission import NodeMode
from coordinator.core.cpu.annotations import bound_cpus, differences, node_annotations, pod_annotations, wants_release
from coordinator.core.cpu.asks import Ask, CpuPolicy
from coordinator.core.cpu.node import NodeCpus
from proto.cpuset import parse, show
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.core.cpu.servers import GIB, exclusive, server, shared


def with_one(cpus: int = 4, policy: CpuPolicy = CpuPolicy.SAME_CORE_FIRST) -> NodeCpus:
    return server(reserved=(0, 8)).place(exclusive("db", cpus), Ask(count=cpus, policy=policy))


def test_an_exclusive_instance_leaves_the_shared_pool() -> None:
    node = with_one()
    assert show(node.exclusive) == show(node.allowed("db"))
    assert node.shared_pool == node.topology.all & ~node.reserved & ~node.exclusive
    assert node_annotations(node) == {"cpu-sharepool": show(node.shared_pool)}


def test_nobody_gets_a_reserved_cpu() -> None:
    node = with_one()
    assert (node.exclusive | node.shared_pool) & node.reserved == 0


def test_a_released_instance_gives_its_cpus_back() -> None:
    assert with_one().release("db").shared_pool == server(reserved=(0, 8)).shared_pool


def test_a_name_is_placed_once() -> None:
    with pytest.raises(DpuError) as refused:
        with_one().place(exclusive("db", 1), Ask(count=1))
    assert refused.value.reason is Reason.ALREADY_EXISTS


def test_a_refusal_tells_every_reason() -> None:
    with pytest.raises(DpuError) as refused:
        with_one().place(exclusive("big", 8, memory_bytes=65 * GIB), Ask(count=8))
    assert "8 more exclusive CPUs make 12, over the 9" in refused.value.message
    assert "memory" in refused.value.message


def test_an_instance_grows_around_the_cpus_it_has() -> None:
    node = with_one()
    grown = node.resize("db", 6, GIB)
    assert grown.exclusive & node.exclusive == node.exclusive
    assert grown.exclusive.bit_count() == 6


def test_an_instance_shrinks_to_a_part_of_what_it_has() -> None:
    node = with_one()
    shrunk = node.resize("db", 2, GIB)
    assert shrunk.exclusive & node.exclusive == shrunk.exclusive
    assert len({node.topology.by_cpu[cpu].core for cpu in range(16) if shrunk.exclusive >> cpu & 1}) == 1


def test_an_instance_does_not_grow_over_the_limit() -> None:
    with pytest.raises(DpuError) as refused:
        with_one().resize("db", 10, GIB)
    assert refused.value.reason is Reason.EXHAUSTED


def test_an_instance_may_shrink_on_a_node_whose_mode_changed() -> None:
    node = with_one()
    node = replace(node, limits=replace(node.limits, mode=NodeMode.SHARED))
    assert node.resize("db", 2, GIB).exclusive.bit_count() == 2


def test_a_lifted_instance_runs_on_all_but_reserved_cpus_and_those_of_others() -> None:
    node = with_one().place(exclusive("other", 2), Ask(count=2)).lift("db")
    assert node.allowed("db") == node.topology.all & ~node.reserved & ~node.holdings["other"].cpuset
    assert node.give_back("db").allowed("db") == with_one().allowed("db")


def test_lifting_takes_no_cpu_from_the_shared_pool() -> None:
    node = with_one()
    assert node.lift("db").shared_pool == node.shared_pool


def test_an_instance_on_the_shared_pool_is_not_lifted() -> None:
    with pytest.raises(DpuError) as refused:
        server().place(shared("web", 2), Ask(count=2)).lift("web")
    assert refused.value.field == "release-isolate-mode"


def test_bind_all_cpus_follows_the_shared_pool() -> None:
    node = server().place(exclusive("all", 4), Ask(count=4, policy=CpuPolicy.BIND_ALL_CPUS))
    assert node.allowed("all") == node.shared_pool == node.topology.all
    node = node.place(exclusive("db", 2), Ask(count=2))
    assert node.allowed("all") == node.shared_pool


def test_who_is_on_a_cpu() -> None:
    node = with_one()
    cpu = next(cpu for cpu in range(16) if node.exclusive >> cpu & 1)
    assert node.holder_of(cpu) == "db"
    assert node.holder_of(0) == ""


def test_a_pods_annotations_say_what_the_ledger_says() -> None:
    node = with_one(2)
    written = pod_annotations(node, "db", ["main"])
    assert written["cpu-isolate-mode"] == "exclusive"
    assert written["exclude-reserve-cpuset"] == "1-7,9-15"
    assert bound_cpus(written, "main") == node.allowed("db")
    assert bound_cpus(written, "sidecar") is None
    assert '"cpuset":"' + show(node.exclusive) + '"' in written["alloc-status"]
    assert differences(written, written) == {}


def test_a_shared_pod_is_not_marked_exclusive_and_an_old_mark_goes() -> None:
    node = server().place(shared("web", 2), Ask(count=2))
    written = pod_annotations(node, "web", ["main"])
    assert "cpu-isolate-mode" not in written
    assert differences(written, {**written, "cpu-isolate-mode": "exclusive"}) == {"cpu-isolate-mode": None}


@pytest.mark.parametrize("text", ["{", "[]", '{"main": 3}', '{"main": {}}'])
def test_a_binding_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(DpuError) as refused:
        bound_cpus({"custom-cgroup-info": text}, "main")
    assert refused.value.reason is Reason.INVALID


def test_the_release_wish_is_true_or_false() -> None:
    assert wants_release({"release-isolate-mode": "true"})
    assert not wants_release({})
    with pytest.raises(DpuError):
        wants_release({"release-isolate-mode": "yes"})


def test_the_bound_cpuset_of_an_annotation_is_the_kernels_format() -> None:
    assert bound_cpus({"custom-cgroup-info": '{"main": {"cpuset": "2-3"}}'}, "main") == parse("2-3")
