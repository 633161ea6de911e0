"""A storage node's exports over NBD: one name for each volume and generation, and one server for all of them."""

import contextlib
from collections.abc import AsyncIterator

from dpu_daemon.drivers.qsd.barred import BarredNames
from dpu_daemon.drivers.qsd.graph import NBD_TCP
from dpu_daemon.drivers.qsd.graph import Export as NbdExport
from dpu_daemon.drivers.qsd.nbd import TcpAddress
from dpu_daemon.drivers.qsd.server import NbdServer
from dpu_daemon.drivers.qsd.session import QmpSession
from dpu_daemon.drivers.qsd.survey import READ_ONLY, READ_WRITE, exports_of
from dpu_daemon.drivers.qsd.tls import Keys, check_psk
from dpu_daemon.model.disk import TargetAddress
from dpu_daemon.model.volume import Export
from proto.errors import DpuError
from proto.reasons import Reason


class NbdExports:
    """The exports of one storage daemon.

    Args:
        session: of the daemon.
        address: on the storage network, to listen on and to tell to DPUs.
        keys: secrets; None where none are kept.
        guarded: serve over TLS alone, to those who have a pre-shared key.
    """

    def __init__(self, session: QmpSession, address: TcpAddress, keys: Keys | None, *, guarded: bool) -> None:
        self._address = address
        self._keys = keys
        self._guarded = guarded
        self._server = NbdServer(session, address, keys if guarded else None)
        self._barred = BarredNames(session, self._server)

    async def all(self) -> dict[str, NbdExport]:
        return await self._server.exports()

    async def expire(self) -> None:
        """Lift names that nobody asks for any more."""
        await self._barred.expire()

    def check_guard(self, credentials: str) -> None:
        """One server serves all exports of a daemon, guarded or open.

        Raises:
            DpuError: INVALID, UNSUPPORTED, NOT_FOUND or WRONG_STATE of the credentials.
        """
        if self._guarded and not credentials:
            message = "this storage node serves guarded exports alone"
            raise DpuError(Reason.INVALID, message, field="credentials", remedy="name the credentials of the DPU")
        if credentials and not self._guarded:
            message = "this storage node serves open exports alone"
            raise DpuError(Reason.UNSUPPORTED, message, field="credentials", remedy="set block.guarded = true there")
        if credentials:
            check_psk(self._keys, credentials)

    async def offer(self, handle: str, node: str, asked: Export, *, read_only: bool) -> TargetAddress:
        """Offers a node to one generation, after cutting off all others."""
        name = f"{handle}-g{asked.generation}"
        export_id = f"{name}-{READ_ONLY if read_only else READ_WRITE}"
        for other in await self._of(handle):
            if other.id != export_id:
                await self._fence_off(other, bar=not other.id.startswith(f"{name}-"))
        await self._barred.lift(name)
        await self._put_up(export_id, node)
        return TargetAddress(
            transport=NBD_TCP,
            host=self._address.host,
            port=self._address.port,
            export=name,
            credentials=asked.credentials,
        )

    async def cut_off(self, handle: str) -> None:
        """Ends all exports of a volume."""
        for export in await self._of(handle):
            await self._fence_off(export, bar=True)

    @contextlib.asynccontextmanager
    async def away(self, handle: str, node: str) -> AsyncIterator[None]:
        """Takes a volume's exports away for a few milliseconds; their clients wait and reconnect."""
        exports = [export for export in await self._of(handle) if not export.closing]
        for export in await self._of(handle):
            await self._fence_off(export, bar=False)
        try:
            yield
        finally:
            for export in exports:
                await self._put_up(export.id, node)

    async def _put_up(self, export_id: str, node: str) -> None:
        """Write-through: a killed daemon would lose acknowledged writes that only its tables in memory know of."""
        name, _, access = export_id.rpartition("-")
        writable = access == READ_WRITE
        await self._server.offer(export_id, node=node, name=name, writable=writable, writethrough=writable)

    async def _fence_off(self, export: NbdExport, *, bar: bool) -> None:
        """Cuts an export off; its name is barred when a client was cut off with it, else nobody would ask for it."""
        if bar and await self._server.retire(export.id):
            return
        await self._server.withdraw(export.id)
        if bar:
            await self._barred.bar(export.id.rpartition("-")[0])

    async def _of(self, handle: str) -> list[NbdExport]:
        return exports_of(handle, await self._server.exports())
