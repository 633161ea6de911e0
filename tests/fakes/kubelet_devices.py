"""kubelet's side of device plug-ins: registration, the stream of devices, allocation, records; it restarts as it does.

Its directory is emptied at each start, what pods have survives in its checkpoint, a stream that ends makes all devices
of that plug-in unhealthy, and the plug-in is never told when a device comes back.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from proto.deviceplugin.v1beta1 import api_pb2, api_pb2_grpc
from proto.podresources.v1 import api_pb2 as resources_pb2
from proto.podresources.v1 import api_pb2_grpc as resources_grpc

KUBELET = "kubelet.sock"
_OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


class FakeKubelet(api_pb2_grpc.RegistrationServicer):
    """One kubelet.

    Args:
        folder: for its two directories; short, for sockets.
    """

    def __init__(self, folder: Path) -> None:
        self.plugins = folder / "device-plugins"
        self.records = folder / "pod-resources" / KUBELET
        self.registered: list[api_pb2.RegisterRequest] = []
        self.lists: list[dict[str, str]] = []
        """Health by device id, for each list that came."""
        self.devices: dict[str, api_pb2.Device] = {}
        self.refuse = ""
        self.pods: dict[str, list[str]] = {}
        """Devices by ``NAMESPACE/NAME``; kubelet's checkpoint."""
        self.resource = ""
        self._news = asyncio.Condition()
        self._server: grpc.aio.Server | None = None
        self._records: grpc.aio.Server | None = None
        self._channel: grpc.aio.Channel | None = None
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self.plugins.exists():
            for entry in self.plugins.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.plugins.mkdir(parents=True, exist_ok=True)
        self.records.parent.mkdir(parents=True, exist_ok=True)
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        api_pb2_grpc.add_RegistrationServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self.plugins / KUBELET}")
        await self._server.start()
        self._records = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        resources_grpc.add_PodResourcesListerServicer_to_server(_Records(self), self._records)
        self._records.add_insecure_port(f"unix:{self.records}")
        await self._records.start()

    async def stop(self) -> None:
        await self.hang_up()
        for server in (self._server, self._records):
            if server is not None:
                await server.stop(0)
        self._server = self._records = None

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def Register(self, request: api_pb2.RegisterRequest, context: Any) -> api_pb2.Empty:  # noqa: N802
        if self.refuse:
            await context.abort(grpc.StatusCode.UNKNOWN, self.refuse)
        await self.hang_up()
        self.resource = request.resource_name
        self._channel = grpc.aio.insecure_channel(f"unix:{self.plugins / request.endpoint}", options=_OPTIONS)
        self.plugin = api_pb2_grpc.DevicePluginStub(self._channel)
        self._following = asyncio.create_task(self._follow())
        async with self._news:
            self.registered.append(request)
            self._news.notify_all()
        return api_pb2.Empty()

    async def hang_up(self) -> None:
        """Follow no plug-in any more; kubelet never calls again by itself."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
            self._following = None
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
        await self._unhealthy()

    async def _follow(self) -> None:
        try:
            self.options = await self.plugin.GetDevicePluginOptions(api_pb2.Empty(), wait_for_ready=True)
            async for answer in self.plugin.ListAndWatch(api_pb2.Empty()):
                async with self._news:
                    self.devices = {device.ID: device for device in answer.devices}
                    self.lists.append({device.ID: device.health for device in answer.devices})
                    self._news.notify_all()
        except grpc.aio.AioRpcError:
            await self._unhealthy()

    async def _unhealthy(self) -> None:
        async with self._news:
            for device in self.devices.values():
                device.health = "Unhealthy"
            self._news.notify_all()

    async def until(self, healthy: set[str], timeout_s: float = 60.0) -> None:
        """Wait until exactly these are healthy."""
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(lambda: self.healthy() == healthy)

    async def until_registered(self, times: int, timeout_s: float = 60.0) -> None:
        """Wait until plug-ins have registered so often."""
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(lambda: len(self.registered) >= times)

    def healthy(self) -> set[str]:
        return {device_id for device_id, device in self.devices.items() if device.health == "Healthy"}

    def free(self) -> list[str]:
        taken = {device_id for ids in self.pods.values() for device_id in ids}
        return sorted(self.healthy() - taken)

    async def admit(self, pod: str, count: int = 1) -> api_pb2.ContainerAllocateResponse:
        """Take a pod that asks for some, as kubelet does: what the plug-in prefers, then allocated, then recorded."""
        free = self.free()
        if len(free) < count:
            raise LookupError(f"{pod}: {count} asked for, {len(free)} free")
        wish = api_pb2.PreferredAllocationRequest()
        wish.container_requests.add(available_deviceIDs=free, allocation_size=count)
        preferred = list((await self.plugin.GetPreferredAllocation(wish)).container_responses[0].deviceIDs)
        chosen = (preferred + [each for each in free if each not in preferred])[:count]
        request = api_pb2.AllocateRequest()
        request.container_requests.add(devices_ids=chosen)
        answer = await self.plugin.Allocate(request)
        self.pods[pod] = chosen
        given: api_pb2.ContainerAllocateResponse = answer.container_responses[0]
        return given

    def forget_pod(self, pod: str) -> None:
        """The pod ended; nobody is told."""
        del self.pods[pod]


class _Records(resources_grpc.PodResourcesListerServicer):
    def __init__(self, kubelet: FakeKubelet) -> None:
        self._kubelet = kubelet

    async def List(  # noqa: N802
        self, request: resources_pb2.ListPodResourcesRequest, context: Any
    ) -> resources_pb2.ListPodResourcesResponse:
        answer = resources_pb2.ListPodResourcesResponse()
        for pod, ids in self._kubelet.pods.items():
            namespace, _, name = pod.partition("/")
            container = answer.pod_resources.add(namespace=namespace, name=name).containers.add(name="main")
            container.devices.add(resource_name=self._kubelet.resource, device_ids=ids)
            container.devices.add(resource_name="example.org/other", device_ids=["other-1"])
        return answer
