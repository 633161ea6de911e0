"""A placement's way to a verified binding, and what happens when the host, the node or the pod differs."""

from functools import partial
from typing import Any

from coordinator.core.cpu.admission import InstanceKind
from coordinator.core.cpu.ioqueues import ANNOTATION
from coordinator.core.objects.cpu import CpuNode, CpuPhase, ProcessItem
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from tests.fakes.cpu import Site, eventually, wish
from tests.unit.coordinator.core.cpu.servers import GIB


def condition(site: Site, name: str, kind: str) -> Any:
    found = CpuNode.parse(site.api.objects[(Kind.CPU_NODE, "", name)])
    return next((one for one in found.status.conditions if one.type == kind), None)


async def one_node(**spec: Any) -> Site:
    site = Site()
    await site.add_node("n1", **({"reserved": "0", "machineMax": {"db": 4, "web": 4}} | spec))
    return site


async def test_a_placed_pod_is_bound_annotated_and_verified() -> None:
    site = await one_node()
    async with site.running() as cpus:
        await cpus.scheduler.place("default", "a", wish(2))
        uid = await site.add_pod("p", "n1", "default/a")
        await eventually(lambda: site.placement("a").status.cpuset)
        placed = site.placement("a")
        assert placed.status.phase is CpuPhase.READY
        assert placed.spec.binding is not None
        own = placed.spec.binding.cpuset
        assert placed.status.cpuset == own
        bound = site.hosts.known["n1"].wish.bindings[0]
        assert (bound.pod_uid, bound.own, bound.allowed) == (uid, own, own)
        written = site.annotations(Foreign.POD, "p")
        assert written["cpu-isolate-mode"] == "exclusive"
        assert written["custom-cgroup-info"] == f'{{"main":{{"cpuset":"{own}"}}}}'
        assert written["exclude-reserve-cpuset"] == "1-15"
        await eventually(
            lambda: site.annotations(Foreign.NODE, "n1").get("cpu-sharepool") == site.hosts.known["n1"].wish.shared
        )


async def test_release_isolate_mode_lifts_and_gives_back() -> None:
    site = await one_node()
    async with site.running() as cpus:
        await cpus.scheduler.place("default", "a", wish(2))
        await site.add_pod("p", "n1", "default/a")
        host = site.hosts.known["n1"]
        await eventually(lambda: host.wish.bindings)
        own = host.wish.bindings[0].own
        patch = {"metadata": {"annotations": {"release-isolate-mode": "true"}}}
        await site.api.patch(Foreign.POD, "p", patch, "default")
        await eventually(lambda: host.wish.bindings[0].allowed == "1-15")
        assert host.wish.bindings[0].own == own
        await eventually(lambda: '"lifted":true' in site.annotations(Foreign.POD, "p")["alloc-status"])
        patch = {"metadata": {"annotations": {"release-isolate-mode": "false"}}}
        await site.api.patch(Foreign.POD, "p", patch, "default")
        await eventually(lambda: host.wish.bindings[0].allowed == own)


async def test_a_kernel_that_shows_something_else_is_told() -> None:
    site = await one_node()
    async with site.running() as cpus:
        await cpus.scheduler.place("default", "a", wish(2))
        uid = await site.add_pod("p", "n1", "default/a")
        site.hosts.known["n1"].sets[uid] = "0-15"
        await eventually(
            lambda: [one for one in site.placement("a").status.conditions if one.reason == "BindingDiffers"]
        )
        assert site.placement("a").status.cpuset == "0-15"
        await eventually(lambda: any(one["reason"] == "BindingDiffers" for one in site.api.events.values()))
        assert condition(site, "n1", "BindingsHold").status == "False"


async def test_somebody_elses_annotation_is_put_right() -> None:
    site = await one_node()
    async with site.running() as cpus:
        await cpus.scheduler.place("default", "a", wish(2))
        await site.add_pod("p", "n1", "default/a")
        await eventually(lambda: "alloc-status" in site.annotations(Foreign.POD, "p"))
        right = site.annotations(Foreign.POD, "p")
        patch = {"metadata": {"annotations": {"custom-cgroup-info": "{}", "alloc-spec": None}}}
        await site.api.patch(Foreign.POD, "p", patch, "default")
        await eventually(lambda: site.annotations(Foreign.POD, "p") == right)


async def test_a_host_that_is_away_is_a_condition_and_bound_when_it_is_back() -> None:
    site = await one_node()
    async with site.running() as cpus:
        host = site.hosts.known["n1"]
        host.away = True
        await cpus.scheduler.place("default", "a", wish(2))
        await site.add_pod("p", "n1", "default/a")
        await eventually(lambda: (found := condition(site, "n1", "HostReachable")) and found.status == "False")
        host.away = False
        await eventually(lambda: host.wish.bindings)
        await eventually(lambda: condition(site, "n1", "HostReachable").status == "True")


async def test_kubelets_static_policy_is_a_condition_with_its_sentence() -> None:
    site = await one_node()
    site.hosts.known["n1"].warnings = ("kubelet runs with cpu-manager-policy static: set it to none",)
    async with site.running():
        await eventually(lambda: (found := condition(site, "n1", "HostClean")) and found.status == "False")
        assert "static" in condition(site, "n1", "HostClean").message


async def test_a_changed_mode_moves_nothing_and_a_cordoned_node_takes_nothing() -> None:
    site = await one_node()
    async with site.running() as cpus:
        ledger = cpus.scheduler.ledger
        await cpus.scheduler.place("default", "a", wish(2))
        await site.api.patch(Kind.CPU_NODE, "n1", {"spec": {"mode": "shared"}})
        await eventually(lambda: ledger.fleet.get("default/n1").node.limits.mode.value == "shared")
        assert ledger.names_on("default/n1") == ["default/a"]
        reasons = cpus.scheduler.explain("default", "b", wish(2))[0].reasons
        assert "takes shared instances only" in reasons[0]
        await site.api.patch(Foreign.NODE, "n1", {"spec": {"unschedulable": True}})
        await eventually(lambda: ledger.fleet.get("default/n1").closed)
        shared = wish(1, mode=InstanceKind.SHARED)
        assert "cordoned" in cpus.scheduler.explain("default", "b", shared)[0].reasons[0]


async def test_a_node_that_is_gone_keeps_its_instances_in_the_books_until_they_are_released() -> None:
    site = await one_node()
    async with site.running() as cpus:
        await cpus.scheduler.place("default", "a", wish(2))
        await eventually(lambda: site.placement("a").status.phase is CpuPhase.READY)
        await site.api.delete(Kind.CPU_NODE, "n1")
        await eventually(lambda: site.placement("a").status.conditions[0].reason == "NodeGone")
        assert cpus.scheduler.ledger.names_on("default/n1") == ["default/a"]
        assert await cpus.scheduler.release("default/a")
        assert cpus.scheduler.ledger.names_on("default/n1") == []


async def test_a_cpu_that_went_offline_is_not_sold_and_its_holder_is_named() -> None:
    site = await one_node()
    async with site.running() as cpus:
        placed = await cpus.scheduler.place("default", "a", wish(2))
        assert placed.spec.binding is not None
        first = int(placed.spec.binding.cpuset.split(",")[0].split("-")[0])
        site.hosts.known["n1"].offline = 1 << first | 1 << 15
        await eventually(lambda: (found := condition(site, "n1", "BindingsHold")) and "offline" in found.message)
        node = cpus.scheduler.ledger.fleet.get("default/n1").node
        assert node.shared_pool >> 15 & 1 == 0
        assert node.limits.sellable_cpus == 13


async def test_an_io_queue_map_only_grows() -> None:
    site = await one_node()
    good = '{"0": "0-7", "1": "8-15"}'
    await site.api.patch(Foreign.NODE, "n1", {"metadata": {"annotations": {ANNOTATION: good}}})
    async with site.running() as cpus:
        await eventually(lambda: (found := condition(site, "n1", "IoQueuesAccepted")) and found.status == "True")
        moved = {"metadata": {"annotations": {ANNOTATION: '{"0": "0-6", "1": "7-15"}'}}}
        await site.api.patch(Foreign.NODE, "n1", moved)
        await eventually(lambda: condition(site, "n1", "IoQueuesAccepted").status == "False")
        assert "moves CPU 7" in condition(site, "n1", "IoQueuesAccepted").message
        queues = cpus.scheduler.ledger.fleet.get("default/n1").node.queues
        assert queues.by_cpu[7] == 0
        await eventually(lambda: any(one["reason"] == "IoQueuesRefused" for one in site.api.events.values()))


async def test_process_makes_what_is_missing_and_waits_for_it() -> None:
    site = await one_node()
    disk = ProcessItem(kind="Volume", name="a-disk", template={"backend": "file", "sizeBytes": GIB})
    async with site.running() as cpus:
        await cpus.scheduler.place("default", "a", wish(2, process=[disk]))
        await eventually(lambda: (Kind.VOLUME, "default", "a-disk") in site.api.objects)
        assert site.placement("a").status.phase is CpuPhase.PROCESSING
        owner = site.api.objects[(Kind.VOLUME, "default", "a-disk")]["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"]) == ("CpuPlacement", "a")
        await site.api.patch_status(Kind.VOLUME, "a-disk", {"status": {"phase": "Ready"}}, "default")
        await eventually(lambda: site.placement("a").status.phase is CpuPhase.READY)


async def test_a_failed_process_gives_the_cpus_up_with_a_sentence() -> None:
    site = await one_node()
    disk = ProcessItem(kind="Volume", name="a-disk", template={"backend": "file"})
    async with site.running() as cpus:
        await cpus.scheduler.place("default", "a", wish(2, process=[disk]))
        await eventually(lambda: (Kind.VOLUME, "default", "a-disk") in site.api.objects)
        await site.api.patch_status(Kind.VOLUME, "a-disk", {"status": {"phase": "Failed"}}, "default")
        await eventually(lambda: site.placement("a").status.phase is CpuPhase.FAILED)
        await eventually(lambda: site.placement("a").spec.binding is None)
        ready = next(one for one in site.placement("a").status.conditions if one.type == "Ready")
        assert "Volume a-disk failed" in ready.message
        assert cpus.scheduler.ledger.names_on("default/n1") == []


async def test_an_object_without_a_binding_is_placed() -> None:
    site = await one_node()
    async with site.running():
        body = {"metadata": {"name": "k", "namespace": "default"}, "spec": wish(2).json()}
        await site.api.create(Kind.CPU_PLACEMENT, body)
        await eventually(lambda: site.placement("k").status.phase is CpuPhase.READY)
        assert site.placement("k").node == "default/n1"


async def test_two_objects_that_claim_one_cpu_end_with_one_holder() -> None:
    site = await one_node()
    for name in ("x", "y"):
        spec = wish(2).json() | {"binding": {"node": "default/n1", "cpuset": "2-3"}}
        await site.api.create(Kind.CPU_PLACEMENT, {"metadata": {"name": name, "namespace": "default"}, "spec": spec})
    async with site.running() as cpus:
        await eventually(lambda: {site.placement(n).status.phase for n in "xy"} == {CpuPhase.READY, CpuPhase.FAILED})
        assert cpus.scheduler.ledger.names_on("default/n1") == ["default/x"]


async def test_a_shared_instance_gets_weight_and_quota_by_its_size() -> None:
    site = await one_node()
    async with site.running() as cpus:
        await cpus.scheduler.place("default", "s", wish(4, mode=InstanceKind.SHARED, application="web"))
        await site.add_pod("p", "n1", "default/s")
        host = site.hosts.known["n1"]
        await eventually(lambda: host.resized)
        size = host.resized[0][1].containers[0]
        assert (size.cpu_request_milli, size.cpu_limit_milli, size.memory_limit_bytes) == (2000, 4000, GIB)
        assert host.wish.bindings == ()


async def test_an_instance_with_cpus_of_its_own_has_no_quota_on_them() -> None:
    site = await one_node()
    async with site.running() as cpus:
        await cpus.scheduler.place("default", "a", wish(2))
        await site.add_pod("p", "n1", "default/a")
        host = site.hosts.known["n1"]
        await eventually(lambda: host.resized)
        pod = host.resized[0][1]
        assert pod.pinned
        assert pod.containers[0].cpu_limit_milli == 2000


async def test_a_container_that_was_started_anew_is_sized_again_and_meant_by_its_id() -> None:
    site = await one_node()
    async with site.running() as cpus:
        await cpus.scheduler.place("default", "a", wish(2))
        await site.add_pod("p", "n1", "default/a")
        resized = site.hosts.known["n1"].resized

        def is_meant(told: str) -> bool:
            return bool(resized) and resized[-1][1].containers[0].container_id == told

        for told in ("one", "two"):
            statuses = [{"name": "main", "containerID": f"containerd://{told}"}]
            body = {"status": {"phase": "Running", "containerStatuses": statuses}}
            await site.api.patch_status(Foreign.POD, "p", body, "default")  # type: ignore[arg-type]
            await eventually(partial(is_meant, told))
        assert len({request_id for request_id, _ in resized}) == len(resized)
        assert max(len(request_id) for request_id, _ in resized) <= 128
