"""kubelet's device plug-in for virtual functions. Source: kubelet's deviceplugin v1beta1.

kubelet counts functions and gives them to pods; Multus hands the name of a pod's function to CNI, whose ADD is what
moves it into the container. Nothing here touches a function.
"""

# ruff: noqa: N802  (methods are named by the API)

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from enum import Enum
from typing import Any

import structlog

from dpu_daemon.engine.vfs import VfPool
from dpu_daemon.model.vf import VfDevice, VfSeen
from proto.deviceplugin.v1beta1 import api_pb2, api_pb2_grpc

VFIO = "/dev/vfio"
"""Where the kernel offers functions to programs: a file for all of VFIO, and one for each IOMMU group."""

_log = structlog.get_logger("dpu_daemon.vfs")


class Health(Enum):
    """kubelet's words for it."""

    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"


def options() -> api_pb2.DevicePluginOptions:
    """What kubelet may ask of us."""
    return api_pb2.DevicePluginOptions(pre_start_required=False, get_preferred_allocation_available=True)


class DevicePluginService(api_pb2_grpc.DevicePluginServicer):
    """Wire to pool and back.

    Args:
        pool: of this host's functions.
        resource: name under which kubelet counts them.
    """

    def __init__(self, pool: VfPool, resource: str) -> None:
        self._pool = pool
        self._variable = variable_of(resource)
        self._watchers = 0

    def is_watched(self) -> bool:
        """Whether somebody follows the list of devices."""
        return self._watchers > 0

    async def GetDevicePluginOptions(self, request: api_pb2.Empty, context: Any) -> api_pb2.DevicePluginOptions:
        del request, context
        return options()

    async def ListAndWatch(self, request: api_pb2.Empty, context: Any) -> AsyncIterator[api_pb2.ListAndWatchResponse]:
        del request, context
        self._watchers += 1
        try:
            async for devices in self._pool.lists():
                yield to_list(devices)
        finally:
            self._watchers -= 1

    async def GetPreferredAllocation(
        self, request: api_pb2.PreferredAllocationRequest, context: Any
    ) -> api_pb2.PreferredAllocationResponse:
        del context
        answer = api_pb2.PreferredAllocationResponse()
        for each in request.container_requests:
            ids = self._pool.prefer(each.available_deviceIDs, each.must_include_deviceIDs, each.allocation_size)
            answer.container_responses.add(deviceIDs=ids)
        return answer

    async def Allocate(self, request: api_pb2.AllocateRequest, context: Any) -> api_pb2.AllocateResponse:
        """One answer for each container; all or none."""
        del context
        wanted = [list(each.devices_ids) for each in request.container_requests]
        given = await self._pool.give([device_id for ids in wanted for device_id in ids])
        functions = {function.device_id: function for function in given}
        answer = api_pb2.AllocateResponse()
        for ids in wanted:
            answer.container_responses.append(to_container([functions[each] for each in ids], self._variable))
        _log.info("functions given to kubelet", devices=sorted(functions))
        return answer

    async def PreStartContainer(
        self, request: api_pb2.PreStartContainerRequest, context: Any
    ) -> api_pb2.PreStartContainerResponse:
        """Nothing to do: CNI has set the function up before the pod's first container is made."""
        del request, context
        return api_pb2.PreStartContainerResponse()


def variable_of(resource: str) -> str:
    """Name of the environment variable that tells a container its functions, as SR-IOV device plug-ins call it."""
    return "PCIDEVICE_" + re.sub("[^A-Z0-9]", "_", resource.upper())


def to_list(devices: Iterable[VfDevice]) -> api_pb2.ListAndWatchResponse:
    """Devices as kubelet counts them."""
    return api_pb2.ListAndWatchResponse(devices=[_to_device(device) for device in devices])


def _to_device(device: VfDevice) -> api_pb2.Device:
    health = Health.UNHEALTHY if device.fault else Health.HEALTHY
    answer = api_pb2.Device(ID=device.device_id, health=health.value)
    if device.numa_node >= 0:
        answer.topology.nodes.add(ID=device.numa_node)
    return answer


def to_container(functions: Sequence[VfSeen], variable: str) -> api_pb2.ContainerAllocateResponse:
    """What a container gets with its functions: their names, and the files of those that VFIO holds."""
    answer = api_pb2.ContainerAllocateResponse()
    answer.envs[variable] = ",".join(function.device_id for function in functions)
    groups = sorted({each.iommu_group for each in functions if "vfio" in each.driver and each.iommu_group >= 0})
    for name in ("vfio", *map(str, groups)) if groups else ():
        answer.devices.add(container_path=f"{VFIO}/{name}", host_path=f"{VFIO}/{name}", permissions="rw")
    return answer
