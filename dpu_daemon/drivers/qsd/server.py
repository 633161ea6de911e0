"""The daemon's NBD server and its exports; a process has one server and many exports."""

import asyncio
from pathlib import Path

from dpu_daemon.drivers.qsd.graph import Export, exports_in
from dpu_daemon.drivers.qsd.nbd import Address, UnixAddress, demands_tls, greets
from dpu_daemon.drivers.qsd.session import QmpSession, RefusedError
from dpu_daemon.drivers.qsd.tls import Keys, ensure_server
from proto.errors import DpuError
from proto.reasons import Reason

GREETING_TIMEOUT_S = 2.0

RETIRE_TRIES = 3
RETIRE_PAUSE_S = 0.1
WITHDRAW_TIMEOUT_S = 8.0
"""Below a step's deadline; requests that wait for a dead target hold an export longer, up to the reconnect delay."""


class NbdServer:
    """Starts the server when it is needed, adds and removes exports.

    Args:
        session: the daemon's QMP session.
        address: where the server listens.
        keys: of the clients that are let in over TLS alone; None lets everybody in.
    """

    def __init__(self, session: QmpSession, address: Address, keys: Keys | None = None) -> None:
        self._session = session
        self._address = address
        self._keys = keys
        self._starting = asyncio.Lock()

    async def exports(self) -> dict[str, Export]:
        return exports_in(await self._session.execute("query-block-exports"))

    async def offer(self, export_id: str, *, node: str, name: str, writable: bool, writethrough: bool) -> None:
        """Makes an export; one that is there already is left.

        Raises:
            DpuError: UNAVAILABLE when the server cannot listen, or an earlier export of this id is still closing.
        """
        known = (await self.exports()).get(export_id)
        if known is not None and known.closing:
            await self._until_gone(export_id)
        elif known is not None:
            return
        await self._ensure()
        await self._session.execute(
            "block-export-add",
            {
                "type": "nbd",
                "id": export_id,
                "node-name": node,
                "name": name,
                "writable": writable,
                "writethrough": writethrough,
            },
        )

    async def withdraw(self, export_id: str) -> None:
        """Cuts off the export's clients and waits until it is gone; none there is fine."""
        if await self.close(export_id):
            await self._until_gone(export_id)

    async def retire(self, export_id: str) -> bool:
        """Removes an export that nobody is connected to; False when somebody is, and nothing was done.

        A client that has just left is still counted for a moment, so it is asked more than once.
        """
        for _ in range(RETIRE_TRIES):
            known = (await self.exports()).get(export_id)
            if known is None:
                return True
            if known.closing:
                return False
            try:
                await self._session.execute("block-export-del", {"id": export_id, "mode": "safe"})
            except RefusedError:
                await asyncio.sleep(RETIRE_PAUSE_S)
            else:
                await self._until_gone(export_id)
                return True
        return False

    async def close(self, export_id: str) -> bool:
        """Cuts off the export's clients; whether it still was there. It goes when their last request has ended."""
        known = (await self.exports()).get(export_id)
        if known is not None and not known.closing:
            try:
                await self._session.execute("block-export-del", {"id": export_id, "mode": "hard"})
            except RefusedError:
                if export_id in await self.exports():
                    raise
        return known is not None

    async def _until_gone(self, export_id: str) -> None:
        async def gone() -> bool:
            return export_id not in await self.exports()

        await self._session.wait_until(
            gone,
            event="BLOCK_EXPORT_DELETED",
            timeout_s=WITHDRAW_TIMEOUT_S,
            waited_for=f"export {export_id} to finish its requests",
        )

    async def _ensure(self) -> None:
        async with self._starting:
            if await greets(self._address, timeout_s=GREETING_TIMEOUT_S):
                await self._check_guard()
                return
            if isinstance(self._address, UnixAddress):
                _remove(Path(self._address.path))
            options = {"addr": self._address.to_qmp(), "max-connections": 0}
            if self._keys is not None:
                options["tls-creds"] = await ensure_server(self._session, self._keys)
            try:
                await self._session.execute("nbd-server-start", options)
            except RefusedError as error:
                message = f"no NBD server can be had at {self._address}: {error.desc}"
                remedy = "free that address, or restart qemu-storage-daemon; its disks are put back by themselves"
                raise DpuError(Reason.UNAVAILABLE, message, remedy=remedy) from error

    async def _check_guard(self) -> None:
        """A server cannot change sides while it runs; an export that is thought to be guarded must be."""
        guarded = await demands_tls(self._address, timeout_s=GREETING_TIMEOUT_S)
        if guarded is not (self._keys is not None):
            message = f"the NBD server at {self._address} is {'guarded' if guarded else 'open to everybody'}"
            remedy = "restart qemu-storage-daemon after changing block.guarded; its exports are put back by themselves"
            raise DpuError(Reason.WRONG_STATE, message, field="block.guarded", remedy=remedy)


def _remove(stale: Path) -> None:
    """A socket file that nobody listens on, left by a killed daemon."""
    stale.unlink(missing_ok=True)
