"""Pods that are resized: a cluster with or without pods/resize, hosts with groups in memory, controllers on both."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from coordinator.clients.host_sizes import Bindings, PodSize
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.resize.wiring import ResizeControllers
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json
from coordinator.core.resize.pods import Answer, Change, Phase, ResizeWish, answer_of, lowest_memory, wish_text
from coordinator.core.resize.usage import GroupDelta, HostUsageReport
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.cpu import FakeHost, Site

GIB = 1 << 30


async def until(done: Callable[[], Any], within_s: float = 40.0) -> None:
    """Return when it is so; TimeoutError when it is not in time."""
    async with asyncio.timeout(within_s):
        while not done():  # noqa: ASYNC110  (it is not ours to tell when)
            await asyncio.sleep(0.01)


@dataclass
class SizedHost(FakeHost):
    """A host that holds sizes and tells usage.

    Attributes:
        sizes: in force, by pod UID.
        used: memory in use by pod UID, which no limit may go under.
        refuse: with this error, once for each.
        reports: what its stream gives.
    """

    sizes: dict[str, PodSize] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    refuse: list[DpuError] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    reports_queue: asyncio.Queue[HostUsageReport] = field(default_factory=asyncio.Queue)
    sequence: int = 0
    unix_ms: int = 1_000_000

    async def reports(self, since: int) -> AsyncIterator[HostUsageReport]:
        del since
        while True:
            yield await self.reports_queue.get()

    def tell(self, *groups: GroupDelta, full: bool = False, after_ms: int = 1000) -> None:
        """One more report."""
        self.sequence += 1
        self.unix_ms += after_ms
        report = HostUsageReport(sequence=self.sequence, unix_ms=self.unix_ms, full=full, groups=groups)
        self.reports_queue.put_nowait(report)

    async def tell_and_wait(self, *groups: GroupDelta, full: bool = False) -> None:
        """One more report, and time for its reader to act on it as it would in the second to the next one."""
        self.tell(*groups, full=full)
        await until(self.reports_queue.empty)
        await asyncio.sleep(0.05)

    async def change(
        self, request_id: str, pods: Sequence[PodSize], others: tuple[int, int], bindings: Bindings | None
    ) -> list[str]:
        await asyncio.sleep(0)
        self.calls.append(request_id)
        if self.refuse:
            raise self.refuse.pop(0)
        for pod in pods:
            for size in pod.containers:
                if 0 < size.memory_limit_bytes < lowest_memory(self.used.get(pod.pod_uid, 0)):
                    raise DpuError(Reason.IN_USE, f"{pod.pod_uid} uses more", field="memory", remedy="ask for more")
        assert others[0] + sum(size.cpu_request_milli for pod in pods for size in pod.containers) <= 200_000
        if bindings is not None:
            await self.bind(bindings.generation, bindings.wish)
        self.sizes |= {pod.pod_uid: pod for pod in pods}
        return [f"{pod.pod_uid} written" for pod in pods]


class _Sizes:
    def __init__(self, host: SizedHost) -> None:
        self._host = host

    async def resize(
        self, request_id: str, pods: Sequence[PodSize], others: tuple[int, int], bindings: Bindings | None = None
    ) -> list[str]:
        return await self._host.change(request_id, pods, others, bindings)


@dataclass
class SizedSite(Site):
    """A site with resizes.

    Attributes:
        has_resize: whether the cluster has the subresource; `kubelet` plays the rest.
    """

    has_resize: bool = False

    def host(self, name: str) -> SizedHost:
        """A host by name."""
        known = self.hosts.known
        if not isinstance(known.get(name), SizedHost):
            known[name] = SizedHost()
        found = known[name]
        assert isinstance(found, SizedHost)
        return found

    def host_sizes(self, name: str, address: str, server_name: str) -> _Sizes:
        del address, server_name
        return _Sizes(self.host(name))

    def usage(self, name: str, address: str, server_name: str) -> SizedHost:
        del address, server_name
        return self.host(name.rpartition("/")[2])

    async def patch(self, kind: Any, name: str, body: Json, namespace: str = "") -> Json:
        return await self.api.patch(kind, name, body, namespace)

    async def resize_pod(self, name: str, namespace: str, body: Json) -> Json:
        """Merge by container name, as a strategic patch does."""
        if not self.has_resize:
            raise DpuError(Reason.UNSUPPORTED, "no pods/resize")
        found = await self.api.get(Foreign.POD, name, namespace)  # type: ignore[arg-type]
        new = {one["name"]: one["resources"] for one in body["spec"]["containers"]}
        containers = [
            one | ({"resources": new[one["name"]]} if one["name"] in new else {}) for one in found["spec"]["containers"]
        ]
        return await self.api.patch(Foreign.POD, name, {"spec": {"containers": containers}}, namespace)

    async def pod(self, name: str, node: str = "n1", *, cpu: str = "1", memory: str = "256Mi", **more: Any) -> str:
        """A running Guaranteed pod of one container; its UID."""
        resources = {"limits": {"cpu": cpu, "memory": memory}, "requests": {"cpu": cpu, "memory": memory}}
        meta = {"name": name, "namespace": "default", "labels": {"app": name}, "annotations": more}
        body = {
            "metadata": meta,
            "spec": {"nodeName": node, "containers": [{"name": "main", "resources": resources}]},
        }
        made = await self.api.create(Foreign.POD, body)
        status = {
            "phase": "Running",
            "qosClass": "Guaranteed",
            "containerStatuses": [{"name": "main", "containerID": f"containerd://{name}-id", "resources": resources}],
        }
        await self.api.patch_status(Foreign.POD, name, {"status": status}, "default")  # type: ignore[arg-type]
        uid: str = made["metadata"]["uid"]
        self.host(node).pods.add(uid)
        return uid

    async def wish(self, pod: str, wish_id: str, **change: int) -> None:
        """What bmctl writes."""
        text = wish_text(ResizeWish(id=wish_id, changes={"main": Change(**change)}, by="test"))
        await self.annotate(pod, {"dpupool.io/resize": text})

    async def annotate(self, pod: str, values: dict[str, str | None]) -> None:
        await self.api.patch(Foreign.POD, pod, {"metadata": {"annotations": values}}, "default")

    async def seen(self, pod: str) -> Json:
        return await self.api.get(Foreign.POD, pod, "default")  # type: ignore[arg-type]

    def stored(self, pod: str) -> Json:
        """A pod as it is now; not to be changed."""
        found: Json = self.api.objects[Foreign.POD, "default", pod]  # type: ignore[index]
        return found

    async def answered(self, pod: str, wish_id: str, within_s: float = 40.0) -> Answer:
        """The final answer to a wish."""

        def final() -> Answer | None:
            answer = answer_of(self.stored(pod))
            done = answer is not None and answer.id == wish_id and answer.phase is not Phase.WAITING
            return answer if done else None

        await until(final, within_s)
        found = final()
        assert found is not None
        return found

    @asynccontextmanager
    async def resizing(self) -> AsyncIterator[ResizeControllers]:
        """A coordinator that resizes."""
        cpus = self.controllers()
        resizes = ResizeControllers(
            cpus.context,
            (cpus.scheduler, cpus.nodes),
            self.api,
            {"default": self},
            self,  # type: ignore[arg-type]
            (ControllerMetrics(CollectorRegistry()), CollectorRegistry()),
        )
        tasks = [asyncio.create_task(each) for each in (cpus.run(), resizes.run())]
        try:
            yield resizes
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
