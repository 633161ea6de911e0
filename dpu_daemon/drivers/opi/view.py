"""What a foreign OPI server has of our disks, read from its lists.

A disk with handle ``H`` is there the remote controller, the QoS volume, the encrypted volume, the subsystem and the
namespace ``H``. What the API has no field for is in ids that are ours to choose: the size that a disk was put up with
in its paths' (``p0-SIZE``), the boot order in its controller's (``slot3-boot1``).
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from dpu_daemon.drivers.opi.server import OpiServer
from dpu_daemon.model.disk import UNLIMITED, DiskProtocol, DiskSeen, FunctionSeen, Qos, TargetAddress, TargetPath
from dpu_daemon.model.identity import is_disk_handle
from proto.opi_api.storage.v1 import (
    backend_nvme_pb2,
    frontend_nvme_pb2,
    middleend_encryption_pb2,
    middleend_qos_volume_pb2,
)

MIB = 1 << 20
KIOPS = 1000
REMOTES = "nvmeRemoteControllers"
SUBSYSTEMS = "nvmeSubsystems"
_PATH = re.compile(r"p\d+-(\d+)")
_CONTROLLER = re.compile(r"slot\d+-boot(\d+)")


@dataclass(frozen=True, slots=True)
class Remains:
    """All that there is of one disk."""

    handle: str
    paths: tuple[Any, ...] = ()
    connected: bool = False
    qos: Any = None
    encrypted: bool = False
    subsystem: Any = None
    namespace: Any = None

    def disk(self) -> DiskSeen:
        """As the engine sees it."""
        return DiskSeen(
            handle=self.handle,
            source=self.source(),
            size_bytes=self.size_bytes(),
            read_only=False,
            qos=_qos(self.qos) if self.qos is not None else UNLIMITED,
            exposed=self.subsystem is not None,
            whole=bool(self.paths) and self.namespace is not None,
            encrypted=self.encrypted,
        )

    def source(self) -> TargetAddress | None:
        """Where its paths lead; None while there is none."""
        if not self.paths:
            return None
        first, *others = sorted(self.paths, key=lambda path: str(path.name))
        return TargetAddress(
            transport="nvme+tcp",
            host=first.traddr,
            port=first.fabrics.trsvcid,
            export=first.fabrics.subnqn,
            paths=tuple(TargetPath(host=path.traddr, port=path.fabrics.trsvcid) for path in others),
            nsid=self._nsid(),
        )

    def _nsid(self) -> int:
        reference = self.namespace.spec.volume_name_ref if self.namespace is not None else ""
        digits = reference.rpartition("/n")[2]
        return int(digits) if digits.isdecimal() else 0

    def size_bytes(self) -> int:
        """What the disk was put up with: the API tells no sizes."""
        found = (_PATH.fullmatch(last_of(path.name)) for path in self.paths)
        return max((int(match[1]) for match in found if match), default=0)


def last_of(name: str) -> str:
    """The id at the end of a resource name."""
    return name.rpartition("/")[2]


def path_id(number: int, size_bytes: int) -> str:
    """The id of a disk's path."""
    return f"p{number}-{size_bytes}"


def controller_id(slot: int, boot_order: int) -> str:
    """The id of a disk's function."""
    return f"slot{slot}-boot{boot_order}"


async def remains(server: OpiServer) -> dict[str, Remains]:
    """Every disk of ours of which there is anything."""
    remotes, layers, fronts = await asyncio.gather(_remotes(server), _layers(server), subsystems(server))
    qos, encrypted = layers
    handles = sorted({*remotes, *qos, *encrypted, *fronts})
    paths, namespaces = await asyncio.gather(
        asyncio.gather(*(_paths(server, handle) for handle in handles)),
        asyncio.gather(*(_namespace(server, handle) for handle in handles)),
    )
    return {
        handle: Remains(
            handle,
            paths=tuple(ways),
            connected=handle in remotes,
            qos=qos.get(handle),
            encrypted=handle in encrypted,
            subsystem=fronts.get(handle),
            namespace=namespace,
        )
        for handle, ways, namespace in zip(handles, paths, namespaces, strict=True)
    }


async def remains_of(server: OpiServer, handle: str) -> Remains:
    """What there is of one disk; OPI's lists know no filter, so it is one of all."""
    return (await remains(server)).get(handle, Remains(handle))


async def _remotes(server: OpiServer) -> dict[str, Any]:
    request = backend_nvme_pb2.ListNvmeRemoteControllersRequest()
    items = server.items(server.remote.ListNvmeRemoteControllers, request, "nvme_remote_controllers")
    return {last_of(item.name): item async for item in items if is_disk_handle(last_of(item.name))}


async def _layers(server: OpiServer) -> tuple[dict[str, Any], dict[str, Any]]:
    qos = server.items(
        server.qos.ListQosVolumes, middleend_qos_volume_pb2.ListQosVolumesRequest(parent="volumes"), "qos_volumes"
    )
    encrypted = server.items(
        server.encryption.ListEncryptedVolumes,
        middleend_encryption_pb2.ListEncryptedVolumesRequest(parent="volumes"),
        "encrypted_volumes",
    )
    return (
        {last_of(item.name): item async for item in qos if is_disk_handle(last_of(item.name))},
        {last_of(item.name): item async for item in encrypted if is_disk_handle(last_of(item.name))},
    )


async def subsystems(server: OpiServer) -> dict[str, Any]:
    """Our subsystems by handle."""
    request = frontend_nvme_pb2.ListNvmeSubsystemsRequest()
    items = server.items(server.nvme.ListNvmeSubsystems, request, "nvme_subsystems")
    return {last_of(item.name): item async for item in items if is_disk_handle(last_of(item.name))}


async def _paths(server: OpiServer, handle: str) -> list[Any]:
    request = backend_nvme_pb2.ListNvmePathsRequest(parent=f"{REMOTES}/{handle}")
    return [item async for item in server.items(server.remote.ListNvmePaths, request, "nvme_paths")]


async def _namespace(server: OpiServer, handle: str) -> Any:
    request = frontend_nvme_pb2.ListNvmeNamespacesRequest(parent=f"{SUBSYSTEMS}/{handle}")
    items = server.items(server.nvme.ListNvmeNamespaces, request, "nvme_namespaces")
    return next((item for item in [item async for item in items] if last_of(item.name) == handle), None)


async def functions(server: OpiServer) -> dict[int, FunctionSeen]:
    """Our functions by slot."""
    fronts = await subsystems(server)
    found = await asyncio.gather(*(_functions(server, handle, front) for handle, front in fronts.items()))
    return {function.slot: function for several in found for function in several}


async def _functions(server: OpiServer, handle: str, front: Any) -> list[FunctionSeen]:
    request = frontend_nvme_pb2.ListNvmeControllersRequest(parent=front.name)
    items = server.items(server.nvme.ListNvmeControllers, request, "nvme_controllers")
    controllers = [item async for item in items if item.spec.HasField("pcie_id")]
    if not controllers:
        return []
    namespace = await _namespace(server, handle)
    return [_function(handle, front, namespace, controller) for controller in controllers]


def _function(handle: str, front: Any, namespace: Any, controller: Any) -> FunctionSeen:
    boots = _CONTROLLER.fullmatch(last_of(controller.name))
    return FunctionSeen(
        slot=controller.spec.pcie_id.physical_function.value,
        handle=handle,
        protocol=DiskProtocol.NVME,
        serial=front.spec.serial_number,
        nguid=namespace.spec.nguid if namespace is not None else "",
        read_only=False,
        boot_order=int(boots[1]) if boots else 0,
        present=True,
    )


def _qos(volume: Any) -> Qos:
    most = volume.limits.max
    return Qos(
        iops=most.rw_iops_kiops * KIOPS,
        bytes_per_s=most.rw_bandwidth_mbs * MIB,
        read_bytes_per_s=most.rd_bandwidth_mbs * MIB,
        write_bytes_per_s=most.wr_bandwidth_mbs * MIB,
    )
