"""A block layer that is an OPI server: disks are made of its remote controllers, layers and subsystems."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import field_mask_pb2

from dpu_daemon.drivers.opi import requests
from dpu_daemon.drivers.opi.server import CONNECT_PATH_S, OpiServer
from dpu_daemon.drivers.opi.view import REMOTES, SUBSYSTEMS, Remains, path_id, remains, remains_of
from dpu_daemon.drivers.spdk.qos import effective, limits_of
from dpu_daemon.engine.protocols import CredentialStore, Lost
from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.disk import (
    UNLIMITED,
    Attachment,
    BlockSeen,
    DiskProtocol,
    DiskStats,
    Qos,
    TargetAddress,
    TargetPath,
)
from proto.errors import DpuError
from proto.opi_api.storage.v1 import (
    backend_nvme_pb2,
    frontend_nvme_pb2,
    middleend_encryption_pb2,
    middleend_qos_volume_pb2,
)
from proto.reasons import Reason

WIDTH = 16


class OpiBlock:
    """A BlockDriver.

    Args:
        server: shared with the bus.
        host_nqn: who the DPU says it is to its targets.
        secrets: keys that are handed to the server.
    """

    def __init__(self, server: OpiServer, *, host_nqn: str, secrets: CredentialStore) -> None:
        self._server = server
        self._host_nqn = host_nqn
        self._secrets = secrets

    async def start(self, lost: Lost) -> None:
        await self._server.start(lost)

    async def stop(self) -> None:
        await self._server.stop()

    def version(self) -> str:
        return self._server.version()

    def default_protocol(self, *, read_only: bool = False) -> DiskProtocol:
        """NVMe: a virtio disk of OPI has no serial number, and its host could not tell which it is."""
        del read_only
        return DiskProtocol.NVME

    def width(self) -> int:
        return WIDTH

    def limits(self) -> Mapping[str, int]:
        """The API tells none."""
        return {}

    def effective(self, qos: Qos) -> Qos:
        return effective(qos)

    async def look(self, want: Attachment | None = None) -> BlockSeen:
        """All disks of ours."""
        found = await remains(self._server)
        return BlockSeen(
            disks={handle: each.disk() for handle, each in found.items() if want is None or handle == want.handle}
        )

    async def put_up(self, disk: Attachment) -> int:
        """Connect, encrypt, limit and offer a disk; what is there already stays.

        Returns:
            The size that was asked for: the API tells none.

        Raises:
            DpuError: UNSUPPORTED for what the API has no word for; ALREADY_EXISTS when the handle has another source;
                otherwise what the server says.
        """
        target = _check(disk)
        there = await remains_of(self._server, disk.handle)
        if there.paths and there.paths[0].fabrics.subnqn != target.export:
            message = f"{disk.handle} is connected to {there.paths[0].fabrics.subnqn}"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="spec.target", remedy="disconnect it first")
        limits_of(disk.spec.qos)
        await self._connect(disk, target, there)
        volume = await self._volume(disk, target)
        if disk.spec.encryption and not there.encrypted:
            key = self._secrets.get(disk.spec.encryption).volume_key
            await self._ask(self._server.encryption.CreateEncryptedVolume, requests.encrypted(disk.handle, volume, key))
        volume = f"encryptedVolumes/{disk.handle}" if disk.spec.encryption else volume
        await self._ask(self._server.nvme.CreateNvmeSubsystem, requests.subsystem(disk))
        await self._ask(self._server.nvme.CreateNvmeNamespace, requests.namespace(disk, volume))
        await self.limit(disk.handle, disk.spec.qos)
        return disk.spec.size_bytes

    async def _connect(self, disk: Attachment, target: TargetAddress, there: Remains) -> None:
        secrets = self._secrets.get(target.credentials) if target.credentials else None
        _refuse_dhchap(secrets)
        if not there.connected:
            request = requests.remote(disk.handle, secrets)
            await self._ask(self._server.remote.CreateNvmeRemoteController, request)
        known = {(path.traddr, path.fabrics.trsvcid) for path in there.paths}
        for number, way in enumerate((TargetPath(host=target.host, port=target.port), *target.paths)):
            if (way.host, way.port) in known:
                continue
            name = path_id(number, disk.spec.size_bytes)
            request = requests.path(disk.handle, target, way, name=name, host_nqn=self._host_nqn)
            await self._server.ask(self._server.remote.CreateNvmePath, request, timeout_s=CONNECT_PATH_S)

    async def _volume(self, disk: Attachment, target: TargetAddress) -> str:
        """The resource name of the target's namespace.

        Raises:
            DpuError: WRONG_STATE when it is not there.
        """
        request = backend_nvme_pb2.ListNvmeRemoteNamespacesRequest(parent=f"{REMOTES}/{disk.handle}")
        items = self._server.items(self._server.remote.ListNvmeRemoteNamespaces, request, "nvme_remote_namespaces")
        found = [item async for item in items if target.nsid in {0, item.nsid}]
        if len(found) != 1:
            message = f"{target.export} has {len(found)} namespaces" + (f" {target.nsid}" if target.nsid else "")
            remedy = "name one that is there"
            raise DpuError(Reason.WRONG_STATE, message, field="spec.target.nsid", remedy=remedy, retry=True)
        return str(found[0].name)

    async def limit(self, handle: str, qos: Qos) -> None:
        """Set, change or lift limits.

        Raises:
            DpuError: NOT_FOUND for a disk that is not connected, INVALID or UNSUPPORTED naming the limit.
        """
        limits_of(qos)
        there = await self._existing(handle)
        has_now = there.disk().qos
        wants = effective(qos)
        if has_now == wants:
            return
        if wants == UNLIMITED:
            request = middleend_qos_volume_pb2.DeleteQosVolumeRequest(name=f"qosVolumes/{handle}")
            await self._server.remove(self._server.qos.DeleteQosVolume, request)
            return
        volume = there.namespace.spec.volume_name_ref
        message = requests.qos_volume(volume, wants)
        if there.qos is None:
            create = middleend_qos_volume_pb2.CreateQosVolumeRequest(qos_volume=message, qos_volume_id=handle)
            await self._ask(self._server.qos.CreateQosVolume, create)
            return
        message.name = there.qos.name
        mask = field_mask_pb2.FieldMask(paths=["limits"])
        update = middleend_qos_volume_pb2.UpdateQosVolumeRequest(qos_volume=message, update_mask=mask)
        await self._ask(self._server.qos.UpdateQosVolume, update)

    async def _existing(self, handle: str) -> Remains:
        there = await remains_of(self._server, handle)
        if there.namespace is None:
            message = f"disk {handle} is not there"
            raise DpuError(Reason.NOT_FOUND, message, field="handle", remedy="put it up first")
        return there

    async def conceal(self, handle: str) -> None:
        """Take the front away; gone is fine."""
        remove, nvme = self._server.remove, self._server.nvme
        qos = middleend_qos_volume_pb2.DeleteQosVolumeRequest(name=f"qosVolumes/{handle}")
        await remove(self._server.qos.DeleteQosVolume, qos)
        space = f"{SUBSYSTEMS}/{handle}/nvmeNamespaces/{handle}"
        await remove(nvme.DeleteNvmeNamespace, frontend_nvme_pb2.DeleteNvmeNamespaceRequest(name=space))
        front = frontend_nvme_pb2.DeleteNvmeSubsystemRequest(name=f"{SUBSYSTEMS}/{handle}")
        await remove(nvme.DeleteNvmeSubsystem, front)

    async def disconnect(self, handle: str) -> None:
        """Take the rest away; gone is fine.

        Raises:
            DpuError: IN_USE while it has a front.
        """
        there = await remains_of(self._server, handle)
        if there.subsystem is not None:
            message = f"disk {handle} is offered to the host"
            raise DpuError(Reason.IN_USE, message, field="handle", remedy="conceal it first")
        remove = self._server.remove
        layer = middleend_encryption_pb2.DeleteEncryptedVolumeRequest(name=f"encryptedVolumes/{handle}")
        await remove(self._server.encryption.DeleteEncryptedVolume, layer)
        for path in there.paths:
            request = backend_nvme_pb2.DeleteNvmePathRequest(name=path.name)
            await remove(self._server.remote.DeleteNvmePath, request)
        remote = backend_nvme_pb2.DeleteNvmeRemoteControllerRequest(name=f"{REMOTES}/{handle}")
        await remove(self._server.remote.DeleteNvmeRemoteController, remote)

    async def grow(self, handle: str, size_bytes: int) -> None:
        """Always refuses to grow: the API has no word for it.

        Raises:
            DpuError: NOT_FOUND; INVALID for a smaller size; UNSUPPORTED.
        """
        has = (await self._existing(handle)).size_bytes()
        if size_bytes < has:
            message = f"disk {handle} has {has} bytes; disks do not shrink"
            raise DpuError(Reason.INVALID, message, field="size_bytes", remedy="ask for at least as many")
        if size_bytes > has:
            remedy = "detach the disk and attach it again with its new size"
            message = "the OPI storage API can neither resize a disk nor tell its size"
            raise DpuError(Reason.UNSUPPORTED, message, field="size_bytes", remedy=remedy)

    async def stats(self, handle: str) -> DiskStats:
        """Counters; the API has 32 bits for each, and a larger one stays at the largest."""
        await self._existing(handle)
        name = f"{SUBSYSTEMS}/{handle}/nvmeNamespaces/{handle}"
        request = frontend_nvme_pb2.StatsNvmeNamespaceRequest(name=name)
        stats = (await self._ask(self._server.nvme.StatsNvmeNamespace, request)).stats
        return DiskStats(
            read_ops=stats.read_ops_count,
            read_bytes=stats.read_bytes_count,
            write_ops=stats.write_ops_count,
            write_bytes=stats.write_bytes_count,
            unmap_ops=stats.unmap_ops_count,
            unmap_bytes=stats.unmap_bytes_count,
        )

    async def _ask(self, method: Any, request: Any) -> Any:
        return await self._server.ask(method, request)


def _check(disk: Attachment) -> TargetAddress:
    spec = disk.spec
    if not isinstance(spec.source, TargetAddress):
        message = "an OPI server knows no read-only disk, and so none for a seed"
        raise DpuError(Reason.UNSUPPORTED, message, field="source", remedy="use an image that needs no seed")
    if spec.read_only:
        message = "an OPI server knows no read-only disk"
        raise DpuError(Reason.UNSUPPORTED, message, field="spec.read_only", remedy="attach it writable")
    if spec.protocol is not DiskProtocol.NVME:
        message = "a virtio disk of an OPI server has no serial number by which its host could know it"
        raise DpuError(Reason.UNSUPPORTED, message, field="spec.protocol", remedy="use NVME")
    if spec.source.transport not in requests.TRTYPES:
        message = f"transport {spec.source.transport!r} is not known to OPI"
        remedy = f"use {' or '.join(requests.TRTYPES)}"
        raise DpuError(Reason.UNSUPPORTED, message, field="spec.target.transport", remedy=remedy)
    return spec.source


def _refuse_dhchap(secrets: Credentials | None) -> None:
    if secrets is not None and (secrets.dhchap_key or secrets.dhchap_controller_key):
        message = "the OPI storage API has no word for DH-HMAC-CHAP"
        raise DpuError(Reason.UNSUPPORTED, message, field="spec.target.credentials", remedy="use a TLS key")
