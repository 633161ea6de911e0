"""An OPI client for tests: stubs of all services, and requests with sensible contents."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import field_mask_pb2, wrappers_pb2

from proto.opi_api.storage.v1 import (
    backend_aio_pb2,
    backend_aio_pb2_grpc,
    backend_malloc_pb2,
    backend_malloc_pb2_grpc,
    backend_null_pb2,
    backend_null_pb2_grpc,
    backend_nvme_pb2,
    backend_nvme_pb2_grpc,
    frontend_nvme_pb2,
    frontend_nvme_pb2_grpc,
    frontend_virtio_blk_pb2,
    frontend_virtio_blk_pb2_grpc,
    middleend_encryption_pb2,
    middleend_encryption_pb2_grpc,
    middleend_qos_volume_pb2,
    middleend_qos_volume_pb2_grpc,
)
from proto.opi_api.storage.v1 import opicommon_pb2 as common

KEY = bytes(range(32))
PSK = b"NVMeTLSkey-1:01:MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmZwJEiQ:"
NQN = "nqn.2026-01.io.example:s1"
HOST = "nqn.2026-01.io.example:host-1"
TARGET = "nqn.2026-01.io.example:target"


class OpiClient:
    """All stubs over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.null: Any = backend_null_pb2_grpc.NullVolumeServiceStub(channel)
        self.malloc: Any = backend_malloc_pb2_grpc.MallocVolumeServiceStub(channel)
        self.aio: Any = backend_aio_pb2_grpc.AioVolumeServiceStub(channel)
        self.remote: Any = backend_nvme_pb2_grpc.NvmeRemoteControllerServiceStub(channel)
        self.qos: Any = middleend_qos_volume_pb2_grpc.MiddleendQosVolumeServiceStub(channel)
        self.crypto: Any = middleend_encryption_pb2_grpc.MiddleendEncryptionServiceStub(channel)
        self.nvme: Any = frontend_nvme_pb2_grpc.FrontendNvmeServiceStub(channel)
        self.virtio: Any = frontend_virtio_blk_pb2_grpc.FrontendVirtioBlkServiceStub(channel)

    async def make_null(self, name: str = "n1", blocks: int = 2048, **more: Any) -> Any:
        volume = backend_null_pb2.NullVolume(block_size=512, blocks_count=blocks, **more)
        request = backend_null_pb2.CreateNullVolumeRequest(null_volume=volume, null_volume_id=name)
        return await self.null.CreateNullVolume(request)

    async def make_malloc(self, name: str = "m1", blocks: int = 2048, **more: Any) -> Any:
        volume = backend_malloc_pb2.MallocVolume(block_size=512, blocks_count=blocks, **more)
        request = backend_malloc_pb2.CreateMallocVolumeRequest(malloc_volume=volume, malloc_volume_id=name)
        return await self.malloc.CreateMallocVolume(request)

    async def make_aio(self, filename: str, name: str = "a1", **more: Any) -> Any:
        volume = backend_aio_pb2.AioVolume(filename=filename, **more)
        return await self.aio.CreateAioVolume(
            backend_aio_pb2.CreateAioVolumeRequest(aio_volume=volume, aio_volume_id=name)
        )

    async def make_remote(self, name: str = "c1", **more: Any) -> Any:
        more.setdefault("multipath", backend_nvme_pb2.NVME_MULTIPATH_MULTIPATH)
        controller = backend_nvme_pb2.NvmeRemoteController(**more)
        return await self.remote.CreateNvmeRemoteController(
            backend_nvme_pb2.CreateNvmeRemoteControllerRequest(
                nvme_remote_controller=controller, nvme_remote_controller_id=name
            )
        )

    async def make_path(
        self,
        name: str = "p1",
        *,
        controller: str = "c1",
        host: str = "127.0.0.1",
        port: int = 4420,
        nqn: str = TARGET,
        hostnqn: str = HOST,
    ) -> Any:
        fabrics = backend_nvme_pb2.FabricsPath(
            trsvcid=port, subnqn=nqn, adrfam=common.NVME_ADDRESS_FAMILY_IPV4, hostnqn=hostnqn
        )
        path = backend_nvme_pb2.NvmePath(trtype=common.NVME_TRANSPORT_TYPE_TCP, traddr=host, fabrics=fabrics)
        return await self.remote.CreateNvmePath(
            backend_nvme_pb2.CreateNvmePathRequest(
                parent=f"nvmeRemoteControllers/{controller}", nvme_path=path, nvme_path_id=name
            )
        )

    async def make_qos(self, volume: str, name: str = "q1", **limits: int) -> Any:
        limit = common.QosLimit(**(limits or {"rw_iops_kiops": 5}))
        qos = middleend_qos_volume_pb2.QosVolume(volume_name_ref=volume)
        qos.limits.max.CopyFrom(limit)
        return await self.qos.CreateQosVolume(
            middleend_qos_volume_pb2.CreateQosVolumeRequest(qos_volume=qos, qos_volume_id=name)
        )

    async def make_encrypted(self, volume: str, name: str = "e1", key: bytes = KEY) -> Any:
        encrypted = middleend_encryption_pb2.EncryptedVolume(
            volume_name_ref=volume, key=key, cipher=common.ENCRYPTION_TYPE_AES_XTS_128
        )
        return await self.crypto.CreateEncryptedVolume(
            middleend_encryption_pb2.CreateEncryptedVolumeRequest(encrypted_volume=encrypted, encrypted_volume_id=name)
        )

    async def make_subsystem(self, name: str = "s1", nqn: str = NQN, **more: Any) -> Any:
        subsystem = frontend_nvme_pb2.NvmeSubsystem(spec=frontend_nvme_pb2.NvmeSubsystemSpec(nqn=nqn, **more))
        return await self.nvme.CreateNvmeSubsystem(
            frontend_nvme_pb2.CreateNvmeSubsystemRequest(nvme_subsystem=subsystem, nvme_subsystem_id=name)
        )

    async def make_controller(
        self, name: str = "c1", *, subsystem: str = "s1", slot: int | None = None, port: int = 4421
    ) -> Any:
        spec = frontend_nvme_pb2.NvmeControllerSpec(trtype=common.NVME_TRANSPORT_TYPE_TCP)
        if slot is None:
            spec.fabrics_id.CopyFrom(
                common.FabricsEndpoint(traddr="127.0.0.1", trsvcid=str(port), adrfam=common.NVME_ADDRESS_FAMILY_IPV4)
            )
        else:
            spec.trtype = common.NVME_TRANSPORT_TYPE_PCIE
            spec.pcie_id.CopyFrom(function(slot))
        return await self.nvme.CreateNvmeController(
            frontend_nvme_pb2.CreateNvmeControllerRequest(
                parent=f"nvmeSubsystems/{subsystem}",
                nvme_controller=frontend_nvme_pb2.NvmeController(spec=spec),
                nvme_controller_id=name,
            )
        )

    async def make_namespace(self, volume: str, name: str = "ns1", *, subsystem: str = "s1", **more: Any) -> Any:
        spec = frontend_nvme_pb2.NvmeNamespaceSpec(volume_name_ref=volume, **more)
        return await self.nvme.CreateNvmeNamespace(
            frontend_nvme_pb2.CreateNvmeNamespaceRequest(
                parent=f"nvmeSubsystems/{subsystem}",
                nvme_namespace=frontend_nvme_pb2.NvmeNamespace(spec=spec),
                nvme_namespace_id=name,
            )
        )

    async def make_virtio(self, volume: str, name: str = "v1", *, slot: int = 3, **more: Any) -> Any:
        disk = frontend_virtio_blk_pb2.VirtioBlk(pcie_id=function(slot), volume_name_ref=volume, **more)
        return await self.virtio.CreateVirtioBlk(
            frontend_virtio_blk_pb2.CreateVirtioBlkRequest(virtio_blk=disk, virtio_blk_id=name)
        )

    async def delete(self, name: str, *, allow_missing: bool = False) -> None:
        """Any object, by its resource name."""
        module, noun, stub = self._of(name)
        request = getattr(module, f"Delete{noun}Request")(name=name, allow_missing=allow_missing)
        await getattr(stub, f"Delete{noun}")(request)

    async def get(self, name: str) -> Any:
        """Any object, by its resource name."""
        module, noun, stub = self._of(name)
        return await getattr(stub, f"Get{noun}")(getattr(module, f"Get{noun}Request")(name=name))

    async def stats(self, name: str) -> Any:
        """Counters of any object."""
        module, noun, stub = self._of(name)
        return (await getattr(stub, f"Stats{noun}")(getattr(module, f"Stats{noun}Request")(name=name))).stats

    async def update(self, name: str, message: Any, *paths: str, allow_missing: bool = False) -> Any:
        """Any object; the message gets its name."""
        module, noun, stub = self._of(name)
        message.name = name
        field = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in noun)[1:]
        request = getattr(module, f"Update{noun}Request")(allow_missing=allow_missing)
        getattr(request, field).CopyFrom(message)
        if paths:
            request.update_mask.CopyFrom(field_mask_pb2.FieldMask(paths=paths))
        return await getattr(stub, f"Update{noun}")(request)

    def _of(self, name: str) -> tuple[Any, str, Any]:
        return {
            "nullVolumes": (backend_null_pb2, "NullVolume", self.null),
            "mallocVolumes": (backend_malloc_pb2, "MallocVolume", self.malloc),
            "aioVolumes": (backend_aio_pb2, "AioVolume", self.aio),
            "nvmeRemoteControllers": (backend_nvme_pb2, "NvmeRemoteController", self.remote),
            "nvmePaths": (backend_nvme_pb2, "NvmePath", self.remote),
            "nvmeRemoteNamespaces": (backend_nvme_pb2, "NvmeRemoteNamespace", self.remote),
            "qosVolumes": (middleend_qos_volume_pb2, "QosVolume", self.qos),
            "encryptedVolumes": (middleend_encryption_pb2, "EncryptedVolume", self.crypto),
            "nvmeSubsystems": (frontend_nvme_pb2, "NvmeSubsystem", self.nvme),
            "nvmeControllers": (frontend_nvme_pb2, "NvmeController", self.nvme),
            "nvmeNamespaces": (frontend_nvme_pb2, "NvmeNamespace", self.nvme),
            "virtioBlks": (frontend_virtio_blk_pb2, "VirtioBlk", self.virtio),
        }[name.split("/")[-2]]


def function(slot: int) -> common.PciEndpoint:
    """Physical function `slot` of port 0."""
    zero = wrappers_pb2.Int32Value(value=0)
    return common.PciEndpoint(
        port_id=zero, physical_function=wrappers_pb2.Int32Value(value=slot), virtual_function=zero
    )


@dataclass
class Refusal:
    """What a refused call said."""

    said: str = ""


@contextmanager
def refused(code: grpc.StatusCode) -> Iterator[Refusal]:
    """The block has to be refused with this code; afterwards `said` has the message."""
    refusal = Refusal()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        yield refusal
    assert error.value.code() is code, error.value
    refusal.said = error.value.details() or ""
