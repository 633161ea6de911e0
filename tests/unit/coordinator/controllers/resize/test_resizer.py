from coordinator.core.objects.cpu import Placement, PlacementSpec
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.resize.pods import Phase, Way, recorded, sizes_of
from coordinator.core.resize.usage import GroupDelta
from proto.cpuset import parse
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.resizing import GIB, SizedSite, until

MIB = 1 << 20


def cpuset_of(placement: Placement) -> str:
    return placement.spec.binding.cpuset if placement.spec.binding else ""


async def a_site(*, has_resize: bool = False) -> SizedSite:
    site = SizedSite(has_resize=has_resize)
    site.host("n1")
    await site.add_node("n1")
    return site


async def test_without_the_subresource_the_hosts_daemon_writes_and_the_pod_keeps_the_record() -> None:
    site = await a_site()
    uid = await site.pod("web")
    async with site.resizing():
        await site.wish("web", "w1", cpu_milli=2000, memory_bytes=GIB)
        answer = await site.answered("web", "w1")
    assert (answer.phase, answer.way) == (Phase.DONE, Way.HOST)
    size = site.host("n1").sizes[uid].containers[0]
    assert (size.cpu_limit_milli, size.cpu_request_milli, size.memory_limit_bytes) == (2000, 2000, GIB)
    pod = await site.seen("web")
    assert sizes_of(pod)["main"].cpu_limit_milli == 2000
    assert recorded(pod)[1] == {"main": "web-id"}
    assert pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "1"


async def test_a_container_that_was_started_anew_gets_its_recorded_size_again() -> None:
    site = await a_site()
    uid = await site.pod("web")
    async with site.resizing():
        await site.wish("web", "w1", cpu_milli=2000)
        await site.answered("web", "w1")
        site.host("n1").sizes.clear()
        status = {"containerStatuses": [{"name": "main", "containerID": "containerd://web-id2"}]}
        await site.api.patch_status(Foreign.POD, "web", {"status": status}, "default")  # type: ignore[arg-type]
        await until(lambda: recorded(site.stored("web"))[1] == {"main": "web-id2"})
    assert site.host("n1").sizes[uid].containers[0].cpu_limit_milli == 2000


async def test_with_the_subresource_kubernetes_is_asked_and_kubelet_waited_for() -> None:
    site = await a_site(has_resize=True)
    await site.pod("web")
    async with site.resizing():
        await site.wish("web", "w1", cpu_milli=1500)
        await until(lambda: site.stored("web")["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "1500m")
        resources = (await site.seen("web"))["spec"]["containers"][0]["resources"]
        status = {"containerStatuses": [{"name": "main", "containerID": "containerd://web-id", "resources": resources}]}
        await site.api.patch_status(Foreign.POD, "web", {"status": status}, "default")  # type: ignore[arg-type]
        answer = await site.answered("web", "w1")
    assert (answer.phase, answer.way) == (Phase.DONE, Way.KUBERNETES)
    assert not site.host("n1").calls


async def test_what_kubelet_calls_infeasible_is_taken_back_with_its_reason() -> None:
    site = await a_site(has_resize=True)
    await site.pod("web")
    async with site.resizing():
        await site.wish("web", "w1", cpu_milli=1500)
        await until(lambda: site.stored("web")["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "1500m")
        told = {"type": "PodResizePending", "status": "True", "reason": "Infeasible", "message": "not with static"}
        await site.api.patch_status(Foreign.POD, "web", {"status": {"conditions": [told]}}, "default")  # type: ignore[arg-type]
        answer = await site.answered("web", "w1")
    assert answer.phase is Phase.FAILED
    assert "not with static" in answer.message
    assert sizes_of(await site.seen("web"))["main"].cpu_limit_milli == 1000


async def test_a_size_over_the_node_is_refused_with_numbers_and_nothing_is_called() -> None:
    site = await a_site()
    await site.pod("web")
    async with site.resizing():
        await site.wish("web", "w1", cpu_milli=10_000_000)
        answer = await site.answered("web", "w1")
    assert answer.phase is Phase.FAILED
    assert "lacks" in answer.message
    assert not site.host("n1").calls


async def test_memory_is_not_lowered_under_what_the_reports_say_is_in_use() -> None:
    site = await a_site()
    uid = await site.pod("web", memory="1Gi")
    async with site.resizing() as resizes:
        group = GroupDelta(index=1, pod_uid=uid, container_id="web-id", changed={"memory_bytes": 512 * MIB})
        site.host("n1").tell(group, full=True)
        await until(lambda: resizes.usage.host("default/n1") is not None)
        await site.wish("web", "w1", memory_bytes=513 * MIB)
        answer = await site.answered("web", "w1")
    assert answer.phase is Phase.FAILED
    assert str(512 * MIB) in answer.message


async def test_a_host_that_is_away_is_asked_again_and_a_wish_that_cannot_be_read_is_told() -> None:
    site = await a_site()
    await site.pod("web")
    site.host("n1").refuse.append(DpuError(Reason.UNAVAILABLE, "away", retry=True))
    async with site.resizing():
        await site.wish("web", "w1", cpu_milli=500)
        assert (await site.answered("web", "w1")).phase is Phase.DONE
        await site.annotate("web", {"dpupool.io/resize": "{"})
        assert "cannot be read" in (await site.answered("web", "unreadable")).message


async def test_an_exclusive_instance_grows_with_the_shared_pool_and_goes_back_when_its_host_refuses() -> None:
    site = await a_site()
    instance = {"application": "db", "mode": "exclusive", "cpus": 2, "memoryBytes": GIB}
    async with site.resizing() as resizes:
        scheduler = resizes.scheduler
        await until(lambda: scheduler.ledger.fleet.knows("default/n1"))
        await scheduler.place("default", "db", PlacementSpec.parse({"instance": instance}))
        uid = await site.pod("db", cpu="2", memory="1Gi", **{"dpupool.io/placement": "default/db"})
        await site.wish("db", "w1", cpu_milli=4000)
        answer = await site.answered("db", "w1")
        assert (answer.phase, answer.way) == (Phase.DONE, Way.LEDGER), answer.message
        own = parse(cpuset_of(scheduler.get("default/db")), field="cpuset")
        assert own.bit_count() == 4
        assert site.host("n1").sizes[uid].pinned
        assert not own & parse(site.host("n1").wish.shared, field="shared")
        site.host("n1").refuse.append(DpuError(Reason.IN_USE, "memory is in use"))
        await site.wish("db", "w2", cpu_milli=3000)
        assert (await site.answered("db", "w2")).phase is Phase.FAILED
        stored = await site.api.get(Kind.CPU_PLACEMENT, "db", "default")
        assert stored["spec"]["instance"]["cpus"] == 4
        assert parse(stored["spec"]["binding"]["cpuset"], field="cpuset").bit_count() == 4
        await site.wish("db", "w3", cpu_milli=2500)
        assert "whole CPUs" in (await site.answered("db", "w3")).message
