"""Transactions that are shared: what is asked for while one is under way goes together in the next."""

import asyncio
from collections.abc import Callable

from dpu_daemon.drivers.ovsdb.client import Operation, OvsdbClient
from proto.errors import DpuError
from proto.ovsdb.replica import Replica
from proto.reasons import Reason

Edit = Callable[[Replica, str], list[Operation]]
"""Operations against the copy as it is when they are sent, with a mark for new rows; may raise DpuError."""

MOST = 64
"""Edits in one transaction: ovs-vswitchd stands still for 20 ms and more for each port of a batch."""


class Batch:
    """One transaction at a time.

    Args:
        client: of the database.
    """

    def __init__(self, client: OvsdbClient) -> None:
        self._client = client
        self._waiting: list[tuple[Edit, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def do(self, edit: Edit) -> None:
        """Commit an edit, alone or with others; the copy shows it when this returns.

        Raises:
            DpuError: what the edit raised, or why the database refused this one.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((edit, future))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send(), name="transactions of ports")
        await future

    async def _send(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            wanted = [pair for pair in batch if not pair[1].done()]
            if await self._together(wanted) or len(wanted) == 1:
                continue
            # One of them was refused, and so were all: each for itself tells which.
            for pair in wanted:
                if not pair[1].done():
                    await self._together([pair])

    async def _together(self, batch: list[tuple[Edit, asyncio.Future[None]]]) -> bool:
        """Whether all ended; a refusal of several leaves them open."""
        operations: list[Operation] = []
        taking: list[asyncio.Future[None]] = []
        try:
            replica = self._client.replica
            for number, (edit, future) in enumerate(batch):
                if (edits := _edits(edit, replica, number, future)) is not None:
                    operations += edits
                    taking.append(future)
            if operations:
                await self._client.transact(operations)
        except DpuError as error:
            if error.reason is Reason.CONFLICT and len(taking) > 1:
                return False
            _fail(taking or [future for _, future in batch], error)
            return True
        for future in taking:
            if not future.done():
                future.set_result(None)
        return True


def _edits(edit: Edit, replica: Replica, number: int, future: asyncio.Future[None]) -> list[Operation] | None:
    try:
        return edit(replica, str(number))
    except DpuError as error:
        _fail([future], error)
        return None


def _fail(futures: list[asyncio.Future[None]], error: DpuError) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
