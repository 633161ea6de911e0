"""Where disks come from: NBD over TCP, plain or with TLS, images of a Ceph cluster, and files of this DPU."""

import asyncio
import base64
import contextlib
import os
from typing import Any

from dpu_daemon.drivers.qsd import tls
from dpu_daemon.drivers.qsd.graph import INCOMPLETE, NBD_TCP
from dpu_daemon.drivers.qsd.nbd import TcpAddress, greets, inquire
from dpu_daemon.drivers.qsd.session import QmpSession, RefusedError
from dpu_daemon.drivers.qsd.tls import Keys, check_psk
from dpu_daemon.model.disk import SeedFile, TargetAddress
from proto.errors import DpuError
from proto.reasons import Reason

RBD = "rbd"
RECONNECT_DELAY_S = 60
"""How long requests wait for a target that went away before the host sees an error."""

OPEN_TIMEOUT_S = 5
TARGET_TIMEOUT_S = 3.0
CEPH_BANNER = b"ceph v"


class Sources:
    """Opens and closes the nodes ``H.src`` of disks, with the objects that they need.

    Args:
        session: of the daemon.
        keys: secrets; None where none are kept.
    """

    def __init__(self, session: QmpSession, keys: Keys | None) -> None:
        self._session = session
        self._keys = keys

    async def open(self, handle: str, source: TargetAddress | SeedFile, *, read_only: bool) -> None:
        """Makes the node.

        Raises:
            DpuError: UNAVAILABLE for a target that does not answer or does not offer the export; INVALID for a seed
                file that is not there; UNSUPPORTED transport; NOT_FOUND or WRONG_STATE of its credentials.
        """
        node = {"node-name": f"{handle}.src", "read-only": read_only}
        if isinstance(source, SeedFile):
            if not await asyncio.to_thread(os.path.isfile, source.path):
                message = f"there is no seed file {source.path}"
                raise DpuError(Reason.INVALID, message, field="source.path", remedy="write the seed first")
            await self._session.execute(
                "blockdev-add", {**node, "driver": "file", "filename": source.path, "read-only": True}
            )
        elif source.transport == NBD_TCP:
            await self._session.execute("blockdev-add", node | await self._nbd(handle, source))
        elif source.transport == RBD:
            await self._open_rbd(handle, source, node)
        else:
            message = f"transport {source.transport!r} is not known to qemu-storage-daemon"
            raise DpuError(Reason.UNSUPPORTED, message, field="source.transport", remedy=f"use {NBD_TCP} or {RBD}")

    async def _nbd(self, handle: str, source: TargetAddress) -> dict[str, Any]:
        address = TcpAddress(source.host, source.port)
        options: dict[str, Any] = {
            "driver": "nbd",
            "server": {"type": "inet", **address.to_qmp()["data"]},
            "export": source.export,
            "reconnect-delay": RECONNECT_DELAY_S,
            "open-timeout": OPEN_TIMEOUT_S,
        }
        # The daemon's main loop stands still while a node opens: ask first, so that a dead target delays no other disk.
        if not source.credentials:
            await inquire(address, source.export, timeout_s=TARGET_TIMEOUT_S)
            return options
        keys = check_psk(self._keys, source.credentials)
        if not await greets(address, timeout_s=TARGET_TIMEOUT_S):
            message = f"no NBD server answers at {address}"
            remedy = "look whether the storage node is up and reachable from here"
            raise DpuError(Reason.UNAVAILABLE, message, remedy=remedy)
        await tls.renew_client(self._session, keys, f"{handle}.tls", source.credentials)
        return options | {"tls-creds": f"{handle}.tls"}

    async def _open_rbd(self, handle: str, source: TargetAddress, node: dict[str, Any]) -> None:
        pool, _, image = source.export.partition("/")
        if not pool or not image:
            message = f"{source.export!r} is not POOL/IMAGE"
            raise DpuError(Reason.INVALID, message, field="source.export", remedy="send it as POOL/IMAGE")
        await _see_monitor(source)
        options: dict[str, Any] = {"driver": "rbd", "pool": pool, "image": image}
        options["server"] = [{"host": source.host, "port": str(source.port)}]
        options["server"] += [{"host": path.host, "port": str(path.port)} for path in source.paths]
        if source.credentials and self._keys is not None:
            options |= await self._cephx(handle, self._keys, source.credentials)
        try:
            await self._session.execute("blockdev-add", node | options)
        except RefusedError as error:
            if not await self._knows_rbd():
                message = "this qemu-storage-daemon cannot reach Ceph"
                remedy = "install the package qemu-block-extra on the DPU and restart it"
                raise DpuError(Reason.UNSUPPORTED, message, field="source.transport", remedy=remedy) from error
            message = f"rbd image {source.export} cannot be opened: {error.desc}"
            remedy = "look at the cluster, the image and the user's rights"
            raise DpuError(Reason.UNAVAILABLE, message, field="source.export", remedy=remedy) from error

    async def _cephx(self, handle: str, keys: Keys, name: str) -> dict[str, Any]:
        user, _, key = keys.get(name).cephx_key.rpartition(":")
        if not key:
            message = f"credentials {name} have no cephx key"
            raise DpuError(Reason.WRONG_STATE, message, field="credentials", remedy="put them again, with cephx_key")
        object_id = f"{handle}.cephx"
        await tls.remove(self._session, object_id)
        # The object holds bytes and gives them to Ceph in base64, which is how a cephx key is written anyway.
        secret = {"qom-type": "secret", "id": object_id, "format": "base64", "data": _canonical(key, name)}
        await self._session.execute("object-add", secret)
        return {"user": user or name, "key-secret": object_id, "auth-client-required": ["cephx"]}

    async def _knows_rbd(self) -> bool:
        """Whether the daemon has the driver: then it misses the name of an image, and asks no cluster."""
        try:
            await self._session.execute("blockdev-add", {"driver": "rbd", "node-name": "dpupool.ask", "pool": "x"})
        except RefusedError as error:
            return "image" in error.desc
        return True

    async def close(self, handle: str, nodes: set[str]) -> None:
        """Removes the node and its objects; `nodes` are those that there are."""
        if f"{handle}.src" in nodes:
            await self._session.execute("blockdev-del", {"node-name": f"{handle}.src"})
        for kind in ("tls", "cephx"):
            await tls.remove(self._session, f"{handle}.{kind}")

    async def offered(self, source: TargetAddress | SeedFile) -> bool:
        """Whether a source that was cut off would be back at its next request; one that never reconnects counts so.

        Of a guarded server only its greeting can be seen from here: it says nothing of its exports without the key.
        """
        if not isinstance(source, TargetAddress) or source == INCOMPLETE or source.transport != NBD_TCP:
            return True
        address = TcpAddress(source.host, source.port)
        if source.credentials:
            return await greets(address, timeout_s=TARGET_TIMEOUT_S)
        try:
            await inquire(address, source.export, timeout_s=TARGET_TIMEOUT_S)
        except DpuError:
            return False
        return True


async def _see_monitor(source: TargetAddress) -> None:
    """A look at a monitor's greeting: opening an image of a cluster that is away would stop the daemon for minutes."""
    banner = b""
    with contextlib.suppress(OSError, EOFError, TimeoutError):
        async with asyncio.timeout(TARGET_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(source.host, source.port)
            try:
                banner = await reader.readexactly(len(CEPH_BANNER))
            finally:
                writer.close()
    if banner != CEPH_BANNER:
        message = f"no Ceph monitor answers at {source.host}:{source.port}"
        raise DpuError(Reason.UNAVAILABLE, message, field="source.host", remedy="look at the cluster's monitors")


def _canonical(key: str, name: str) -> str:
    """The key in plain base64.

    Raises:
        DpuError: WRONG_STATE for what is none; the key is not repeated.
    """
    try:
        return base64.b64encode(base64.b64decode(key, validate=True)).decode()
    except ValueError:
        message = f"the cephx key of credentials {name} is not base64"
        raise DpuError(Reason.WRONG_STATE, message, field="credentials", remedy="put them again") from None
