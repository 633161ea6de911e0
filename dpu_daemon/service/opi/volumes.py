"""Null, malloc and AIO volumes on the wire."""

from typing import Any

from dpu_daemon.engine.opi.objects import OpiView
from dpu_daemon.model.opi import AioVolume, MallocVolume, NullVolume, OpiKind, OpiSpec
from dpu_daemon.service.opi.checks import check_blocks, check_uuid, unsupported
from dpu_daemon.service.opi.codec import Codec
from dpu_daemon.service.validation import SECTOR_BYTES, invalid
from proto.opi_api.storage.v1 import backend_aio_pb2, backend_malloc_pb2, backend_null_pb2

_PATH_BYTES = 4096


def _null(message: Any) -> tuple[OpiSpec, bytes]:
    size, count = check_blocks("null_volume", message.block_size, message.blocks_count)
    return NullVolume(block_size=size, blocks_count=count, uuid=check_uuid("null_volume.uuid", message.uuid)), b""


def _from_null(view: OpiView) -> Any:
    return _message(backend_null_pb2.NullVolume(), view, ("block_size", "blocks_count", "uuid"))


def _malloc(message: Any) -> tuple[OpiSpec, bytes]:
    size, count = check_blocks("malloc_volume", message.block_size, message.blocks_count)
    if message.metadata_size not in {0, 8, 16, 32, 64, 128}:
        text = f"SPDK has no blocks with {message.metadata_size} bytes of metadata"
        raise unsupported("malloc_volume.metadata_size", text, "use 0, 8, 16, 32, 64 or 128")
    uuid = check_uuid("malloc_volume.uuid", message.uuid)
    spec = MallocVolume(block_size=size, blocks_count=count, metadata_size=message.metadata_size, uuid=uuid)
    return spec, b""


def _from_malloc(view: OpiView) -> Any:
    names = ("block_size", "blocks_count", "metadata_size", "uuid")
    return _message(backend_malloc_pb2.MallocVolume(), view, names)


def _aio(message: Any) -> tuple[OpiSpec, bytes]:
    name = message.filename
    plain = name.startswith("/") and name.isprintable() and ".." not in name.split("/")
    if not plain or len(name.encode()) > _PATH_BYTES:
        raise invalid("aio_volume.filename", f"{name[:80]!r} is not a path", "use an absolute path on the DPU")
    size, count = check_blocks("aio_volume", message.block_size or SECTOR_BYTES, message.blocks_count, least=0)
    uuid = check_uuid("aio_volume.uuid", message.uuid)
    return AioVolume(filename=name, block_size=size, blocks_count=count, uuid=uuid), b""


def _from_aio(view: OpiView) -> Any:
    message = _message(backend_aio_pb2.AioVolume(), view, ("filename", "block_size", "blocks_count", "uuid"))
    seen = view.seen.bdevs.get(view.record.handle) if view.seen else None
    if seen is not None:
        message.blocks_count = seen.blocks_count
    return message


def _message(message: Any, view: OpiView, names: tuple[str, ...]) -> Any:
    message.name = view.record.name
    for name in names:
        setattr(message, name, getattr(view.record.spec, name))
    return message


NULL = Codec(
    kind=OpiKind.NULL_VOLUME,
    noun="NullVolume",
    field="null_volume",
    module=backend_null_pb2,
    read=_null,
    write=_from_null,
)
MALLOC = Codec(
    kind=OpiKind.MALLOC_VOLUME,
    noun="MallocVolume",
    field="malloc_volume",
    module=backend_malloc_pb2,
    read=_malloc,
    write=_from_malloc,
)
AIO = Codec(
    kind=OpiKind.AIO_VOLUME,
    noun="AioVolume",
    field="aio_volume",
    module=backend_aio_pb2,
    read=_aio,
    write=_from_aio,
)
