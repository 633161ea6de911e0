"""Names of exports that were fenced off, kept for a while to answer errors.

A client whose export vanished waits for it, and while one request waits, its qemu-storage-daemon makes no change to any
disk. A name that answers every request with an error ends that wait at once; no byte of a volume is behind it.
"""

import asyncio

import structlog

from dpu_daemon.drivers.qsd.server import NbdServer
from dpu_daemon.drivers.qsd.session import QmpSession, RefusedError
from proto.errors import DpuError

NODE = "dpupool.barred"
SUFFIX = "-barred"
NODE_BYTES = 1 << 50
"""Larger than any volume, so that no request is refused for its place."""

EIO = 5
KEEP_S = 150.0
"""Longer than a client's reconnect delay."""

_log = structlog.get_logger(__name__)


class BarredNames:
    """Bars names and forgets them in time.

    Args:
        session: of the storage daemon.
        server: that the names are offered by.
    """

    def __init__(self, session: QmpSession, server: NbdServer) -> None:
        self._session = session
        self._server = server
        self._until: dict[str, float] = {}

    async def bar(self, name: str) -> None:
        """Have `name` answer errors; the fence stands without it, so a failure here is only logged."""
        try:
            await self._ensure_node()
            await self._server.offer(name + SUFFIX, node=NODE, name=name, writable=True, writethrough=False)
        except DpuError as error:
            _log.warning(f"{name} is fenced, its clients wait for nothing: {error}")
        else:
            self._until[name] = asyncio.get_running_loop().time() + KEEP_S

    async def lift(self, name: str) -> None:
        """Give a name back to a volume."""
        self._until.pop(name, None)
        await self._server.withdraw(name + SUFFIX)

    async def expire(self) -> None:
        """Lift what no client waits for any more; one that was barred before this process gets a new term."""
        now = asyncio.get_running_loop().time()
        for export_id, export in (await self._server.exports()).items():
            name = export_id.removesuffix(SUFFIX)
            if export.node == NODE and now >= self._until.setdefault(name, now + KEEP_S):
                await self.lift(name)

    async def _ensure_node(self) -> None:
        node = {"driver": "blkdebug", "node-name": NODE, "image": {"driver": "null-co", "size": NODE_BYTES}}
        try:
            await self._session.execute("blockdev-add", node | {"inject-error": [{"event": "none", "errno": EIO}]})
        except RefusedError as error:
            if "uplicate" not in error.desc:
                raise
