"""The coordinator's clients of usage and sizes against a whole daemon in mode host on groups in memory."""

from pathlib import Path

import pytest

from coordinator.clients.host_cpus import HostBinding, Wish
from coordinator.clients.host_sizes import Bindings, ContainerSize, GrpcHostSizes, PodSize
from coordinator.clients.usage import GrpcUsage
from coordinator.core.resize.usage import HostUsage
from dpu_daemon.model.cgroup import QosClass
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import fake_host
from tests.fakes.groups import FakeGroups

MIB = 1 << 20
NOBODY = (0, 0)


def a_pod(cpu: int, mib: int, *, pinned: bool = False) -> PodSize:
    size = ContainerSize(
        container="main",
        cpu_request_milli=cpu,
        cpu_limit_milli=cpu,
        memory_request_bytes=mib * MIB,
        memory_limit_bytes=mib * MIB,
    )
    return PodSize(pod_uid="web", containers=(size,), pinned=pinned)


async def test_sizes_reach_the_groups_and_a_repeat_does_nothing(tmp_path: Path) -> None:
    groups = FakeGroups()
    path = groups.run("web", "main", qos=QosClass.GUARANTEED)
    async with fake_host(tmp_path, groups) as host:
        client = GrpcHostSizes("n1", host.channel())
        assert await client.resize("r1", [a_pod(2000, 256)], NOBODY)
        assert not await client.resize("r1", [a_pod(2000, 256)], NOBODY)
    leaf = groups.groups[f"{path}/main-id"]
    assert (leaf.quota_milli, leaf.memory_bytes) == (2000, 256 * MIB)


async def test_cpus_and_sizes_change_as_one_and_are_refused_as_one(tmp_path: Path) -> None:
    groups = FakeGroups()
    path = groups.run("web", "main", qos=QosClass.GUARANTEED, used_bytes=200 * MIB)
    wish = Wish(reserved="", shared="2-7", bindings=(HostBinding(pod_uid="web", own="0-1", allowed="0-1"),))
    async with fake_host(tmp_path, groups) as host:
        client = GrpcHostSizes("n1", host.channel())
        change = Bindings(generation=1, wish=wish)
        await client.resize("r1", [a_pod(2000, 512, pinned=True)], NOBODY, change)
        assert groups.groups[f"{path}/main-id"].cpuset == 0b11
        wider = Wish(reserved="", shared="3-7", bindings=(HostBinding(pod_uid="web", own="0-2", allowed="0-2"),))
        with pytest.raises(DpuError) as refused:
            await client.resize("r2", [a_pod(3000, 100, pinned=True)], NOBODY, Bindings(generation=2, wish=wider))
        assert refused.value.reason is Reason.IN_USE
        assert groups.groups[f"{path}/main-id"].cpuset == 0b11


async def test_usage_comes_whole_first_and_is_resumed_where_it_was(tmp_path: Path) -> None:
    groups = FakeGroups()
    groups.run("web", "main")
    async with fake_host(tmp_path, groups) as host:
        usage, client = HostUsage(), GrpcUsage("n1", host.channel())
        async for report in client.reports(0):
            usage.take(report)
            if usage.sequence >= 2:
                break
        seen = usage.sequence
        async for report in client.reports(seen):
            usage.take(report)
            break
    assert usage.sequence == seen + 1
    assert list(usage.names()) == [("web", "main-id")]
