"""The services of the OPI storage API: which collections each one has, and what only one of them has."""

from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf import empty_pb2

from dpu_daemon.engine.opi.objects import OpiObjects
from dpu_daemon.engine.opi.statistics import remote_namespaces
from dpu_daemon.model.opi import REMOTE_NAMESPACES, OpiKind
from dpu_daemon.plan.opi_references import remote_nsid
from dpu_daemon.service.gate import deadline_of
from dpu_daemon.service.opi import frontends, layers, remotes, volumes
from dpu_daemon.service.opi.codec import Codec
from dpu_daemon.service.opi.names import check_name, check_remote_namespace
from dpu_daemon.service.opi.paging import page_of
from dpu_daemon.service.opi.rpcs import CollectionRpcs
from proto.errors import DpuError
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
    frontend_virtio_scsi_pb2,
    frontend_virtio_scsi_pb2_grpc,
    middleend_encryption_pb2,
    middleend_encryption_pb2_grpc,
    middleend_qos_volume_pb2,
    middleend_qos_volume_pb2_grpc,
)
from proto.reasons import Reason

Handler = Callable[[Any, Any], Awaitable[Any]]
Add = Callable[[Any, Any], None]

_SERVICES: tuple[tuple[Any, Add, tuple[Codec, ...]], ...] = (
    (backend_null_pb2, backend_null_pb2_grpc.add_NullVolumeServiceServicer_to_server, (volumes.NULL,)),
    (backend_malloc_pb2, backend_malloc_pb2_grpc.add_MallocVolumeServiceServicer_to_server, (volumes.MALLOC,)),
    (backend_aio_pb2, backend_aio_pb2_grpc.add_AioVolumeServiceServicer_to_server, (volumes.AIO,)),
    (
        backend_nvme_pb2,
        backend_nvme_pb2_grpc.add_NvmeRemoteControllerServiceServicer_to_server,
        (remotes.CONTROLLER, remotes.PATH),
    ),
    (
        middleend_qos_volume_pb2,
        middleend_qos_volume_pb2_grpc.add_MiddleendQosVolumeServiceServicer_to_server,
        (layers.QOS,),
    ),
    (
        middleend_encryption_pb2,
        middleend_encryption_pb2_grpc.add_MiddleendEncryptionServiceServicer_to_server,
        (layers.ENCRYPTED,),
    ),
    (
        frontend_nvme_pb2,
        frontend_nvme_pb2_grpc.add_FrontendNvmeServiceServicer_to_server,
        (frontends.SUBSYSTEM, frontends.CONTROLLER, frontends.NAMESPACE),
    ),
    (
        frontend_virtio_blk_pb2,
        frontend_virtio_blk_pb2_grpc.add_FrontendVirtioBlkServiceServicer_to_server,
        (frontends.VIRTIO_BLK,),
    ),
    (frontend_virtio_scsi_pb2, frontend_virtio_scsi_pb2_grpc.add_FrontendVirtioScsiServiceServicer_to_server, ()),
)

NO_SCSI = (
    "OPI ties no SCSI target to a controller, and SPDK has targets only inside controllers",
    "use FrontendVirtioBlkService or FrontendNvmeService",
)


def no_layer(what: str) -> tuple[str, str]:
    """Why OPI is not served over this block layer, and the remedy."""
    return f"{what} cannot make the objects of OPI", "set block.driver to spdk, or use dpu.v1.StorageService"


class OpiServicer:
    """Answers the rpcs of one service; which ones, its table of handlers says."""

    def __init__(self, handlers: dict[str, Handler]) -> None:
        for name, handler in handlers.items():
            setattr(self, name, handler)


class RemoteRpcs:
    """What only the service of remote controllers has: reset, and namespaces that nobody creates.

    Args:
        objects: of the engine.
    """

    def __init__(self, objects: OpiObjects) -> None:
        self._objects = objects

    async def reset(self, request: Any, context: Any) -> Any:
        """Reset the connections; namespaces stay."""
        name = check_name("name", request.name, OpiKind.REMOTE_CONTROLLER)
        await self._objects.reset(name, deadline_of(context))
        return empty_pb2.Empty()

    async def list(self, request: Any, _context: Any) -> Any:
        """A page of a remote subsystem's namespaces."""
        owner = self._objects.existing(check_name("parent", request.parent, OpiKind.REMOTE_CONTROLLER))
        found = [
            remotes.from_remote_namespace(owner, bdev) for bdev in remote_namespaces(owner, await self._objects.look())
        ]
        found.sort(key=lambda each: str(each.name))
        scope = f"{REMOTE_NAMESPACES} of {owner.name}"
        page, token = page_of(found, lambda each: str(each.name), scope, request.page_size, request.page_token)
        answer = backend_nvme_pb2.ListNvmeRemoteNamespacesResponse(next_page_token=token)
        answer.nvme_remote_namespaces.extend(page)
        return answer

    async def get(self, request: Any, _context: Any) -> Any:
        """One namespace of a remote subsystem."""
        name = check_remote_namespace("name", request.name)
        parent, _, member = name.rpartition("/")
        owner = self._objects.existing(parent.rpartition("/")[0])
        for bdev in remote_namespaces(owner, await self._objects.look()):
            if bdev.nsid == remote_nsid(member):
                return remotes.from_remote_namespace(owner, bdev)
        message = f"{name} does not exist now"
        raise DpuError(Reason.NOT_FOUND, message, field="name", remedy="list the namespaces of the controller")


def add_opi(server: Any, objects: OpiObjects | None, layer: str) -> None:
    """Add all services to a server.

    Args:
        server: of gRPC.
        objects: of the engine; None where the block layer cannot make them, and every rpc says so.
        layer: name of the block layer, for that answer.
    """
    for module, add, codecs in _SERVICES:
        add(OpiServicer(_handlers(module, codecs, objects, layer)), server)


def _handlers(module: Any, codecs: tuple[Codec, ...], objects: OpiObjects | None, layer: str) -> dict[str, Handler]:
    handlers: dict[str, Handler] = {}
    for service in module.DESCRIPTOR.services_by_name.values():
        why = no_layer(layer) if objects is None else NO_SCSI
        handlers |= {method.name: refusal(*why) for method in service.methods}
    if objects is None:
        return handlers
    for codec in codecs:
        rpcs, noun = CollectionRpcs(codec, objects), codec.noun
        handlers |= {
            f"Create{noun}": rpcs.create,
            f"Delete{noun}": rpcs.delete,
            f"Update{noun}": rpcs.update,
            f"List{noun}s": rpcs.page,
            f"Get{noun}": rpcs.get,
            f"Stats{noun}": rpcs.stats,
        }
    if remotes.CONTROLLER in codecs:
        remote = RemoteRpcs(objects)
        handlers |= {
            "ResetNvmeRemoteController": remote.reset,
            "ListNvmeRemoteNamespaces": remote.list,
            "GetNvmeRemoteNamespace": remote.get,
        }
    return handlers


def refusal(message: str, remedy: str) -> Handler:
    """A handler that answers UNIMPLEMENTED, and why."""

    async def refuse(_request: Any, _context: Any) -> Any:
        raise DpuError(Reason.UNSUPPORTED, message, remedy=remedy)

    return refuse
