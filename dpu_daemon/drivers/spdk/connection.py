"""One connection to an SPDK process: requests go out at once, replies come in any order and are matched by id."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from dpu_daemon.drivers.spdk.frames import Replies, Reply
from proto.errors import DpuError
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

PEER = "SPDK"
REMEDY = "look whether spdk_tgt runs and whether its RPC socket is where the configuration says"
CHUNK_BYTES = 256 * 1024


class SpdkError(DpuError):
    """SPDK refused a call.

    Codes differ by method and messages by release: whoever gets this looks before deciding what it means.

    Attributes:
        method: that was refused.
        code: a negative errno, or a JSON-RPC code.
        said: SPDK's own sentence.
    """

    def __init__(self, method: str, code: int, said: str) -> None:
        message = f"{PEER} refused {method}: {said} (code {code})"
        super().__init__(Reason.INTERNAL, message, remedy=f"see the log of {PEER}", retry=True)
        self.method = method
        self.code = code
        self.said = said


class SpdkConnection:
    """A keeper.Connection. Must be made inside a running event loop.

    Args:
        reader: of the socket.
        writer: of the socket.
        longest_request: bytes; a longer one would make SPDK drop the connection without a word.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, longest_request: int) -> None:
        self._reader = reader
        self._writer = writer
        self.longest_request = longest_request
        self._pending: dict[int, tuple[str, asyncio.Future[msgspec.Raw]]] = {}
        self._next_id = 0
        self._unsent: list[bytes] = []
        self._why = ""
        self.sent = 0
        self._task = asyncio.create_task(self._read(), name=f"read {PEER}")

    async def call(self, method: str, params: Mapping[str, Any] | None, *, timeout_s: float) -> msgspec.Raw:
        """The raw result of one request; what is in `params` is never logged and never in an error.

        Raises:
            SpdkError: refused.
            DpuError: UNAVAILABLE when the connection ends first, DEADLINE when no answer came in time: it may or may
                not have been done. INVALID for a request that is too long to be sent.
        """
        if self._why:
            raise self._gone()
        self._next_id += 1
        number = self._next_id
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": method}
        if params:
            # Methods without parameters refuse even an empty object.
            request["params"] = params
        body = msgspec.json.encode(request)
        if len(body) > self.longest_request:
            message = f"{method} has {len(body)} bytes, more than the {self.longest_request} that {PEER} takes"
            raise DpuError(Reason.INVALID, message, remedy="ask for less at once")
        answer: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._pending[number] = (method, answer)
        self.sent += 1
        self._send(body)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            sentence = f"{PEER} did not answer {method} within {timeout_s:g} s"
            raise DpuError(Reason.DEADLINE, sentence, remedy="the call may be repeated") from error
        finally:
            self._pending.pop(number, None)

    def _send(self, body: bytes) -> None:
        """Requests of one turn of the event loop go out in one piece, so that SPDK finds all of them at one look."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(body)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if not self._writer.is_closing():
            self._writer.write(b"".join(unsent))

    def process_id(self) -> int:
        """Of the process at the other end."""
        wire = self._writer.get_extra_info("socket")
        credentials = wire.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])

    async def closed(self) -> str:
        """Waits for the end of the stream."""
        await asyncio.wait([self._task])
        return self._why or "closed"

    async def close(self) -> None:
        """Ends the stream and fails what is pending."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError as error:
            LOG.debug("stream ended with an error", error=str(error))

    async def _read(self) -> None:
        replies = Replies()
        try:
            while chunk := await self._reader.read(CHUNK_BYTES):
                for reply in replies.feed(chunk):
                    self._take(reply)
            self._why = "it closed the connection"
        except (OSError, ValueError) as error:
            self._why = str(error)
        finally:
            self._why = self._why or "the driver closed the connection"
            for _, answer in self._pending.values():
                if not answer.done():
                    answer.set_exception(self._gone())

    def _take(self, reply: Reply) -> None:
        if not isinstance(reply.id, int) or reply.id not in self._pending:
            # Late: its caller has given up. With id null: SPDK could not read a request, and says no more.
            LOG.debug("a reply that nobody waits for", id=reply.id, error=reply.error.code if reply.error else 0)
            return
        method, answer = self._pending[reply.id]
        if answer.done():
            return
        if reply.error is not None:
            answer.set_exception(SpdkError(method, reply.error.code, reply.error.message))
        else:
            answer.set_result(reply.result)

    def _gone(self) -> DpuError:
        message = f"the connection to {PEER} ended: {self._why}"
        return DpuError(Reason.UNAVAILABLE, message, remedy="repeat the call; the daemon reconnects by itself")
