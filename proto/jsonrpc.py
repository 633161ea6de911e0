"""JSON-RPC over a stream, pipelined by id: OVSDB's 1.0 flavour (RFC 7047) and 2.0 alike."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog

from proto.errors import DpuError
from proto.framing import Framer
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

CHUNK_BYTES = 256 * 1024

Notified = Callable[[str, Any], Awaitable[None] | None]
"""What it returns is waited for before the next message is taken.

So it may not wait for an answer on its own connection, which comes after it: that call, and those of all others, would
end at their deadlines.
"""


class JsonRpcError(Exception):
    """The other side answered with an error; `error` is what it sent."""

    def __init__(self, error: Any) -> None:
        super().__init__(msgspec.json.encode(error).decode())
        self.error = error


class JsonRpcConnection:
    """One connection; a keeper.Connection.

    Args:
        peer: what is on the other side, for sentences.
        envelope: members added to each message, such as ``{"jsonrpc": "2.0"}``.
        notified: called with method and params of each notification.
        fault: tells what of an encoded message the other side would end the connection for; empty for nothing.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        peer: str,
        envelope: Mapping[str, Any],
        notified: Notified,
        fault: Callable[[bytes], str] = lambda _encoded: "",
    ) -> None:
        self._fault = fault
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._envelope = dict(envelope)
        self._notified = notified
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._next_id = 0
        self._why = ""
        self._heard_at = asyncio.get_running_loop().time()
        self._task = asyncio.create_task(self._read(), name=f"read {peer}")

    async def call(self, method: str, params: Any, *, timeout_s: float) -> Any:
        """The result of one request.

        Raises:
            JsonRpcError: refused by the other side.
            ValueError: it cannot be said; nothing was sent.
            DpuError: UNAVAILABLE when the connection ends first, DEADLINE when no answer came in time; what was
                asked may or may not have been done.
        """
        if self._why:
            raise self._gone()
        self._next_id += 1
        number = self._next_id
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        try:
            self._send({**self._envelope, "method": method, "params": params, "id": number})
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            sentence = f"{self._peer} did not answer {method} within {timeout_s:g} s"
            raise DpuError(Reason.DEADLINE, sentence, remedy="the call may be repeated") from error
        finally:
            self._pending.pop(number, None)

    async def probe(self, every_s: float) -> None:
        """Asks for an echo when nothing was heard for that long; ends the connection when none comes in as long again.

        Returns when the connection has ended. A peer whose machine went away is found in no other way.
        """
        while not self._why:
            quiet_s = asyncio.get_running_loop().time() - self._heard_at
            if quiet_s < every_s:
                await asyncio.wait([self._task], timeout=every_s - quiet_s)
                continue
            try:
                await self.call("echo", [], timeout_s=every_s)
            except JsonRpcError:
                continue
            except DpuError as error:
                self._why = self._why or error.message
                self._task.cancel()

    async def closed(self) -> str:
        """Waits for the end of the stream."""
        await asyncio.wait([self._task])
        return self._why or "closed"

    async def close(self) -> None:
        """Ends the stream and fails what is pending."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._writer.close()
        await _closed(self._writer)

    def _send(self, message: Mapping[str, Any]) -> None:
        # Requests are small and the peers local: the transport's buffer is bound enough.
        encoded = msgspec.json.encode(message)
        if fault := self._fault(encoded):
            raise ValueError(fault)
        self._writer.write(encoded + b"\n")

    async def _read(self) -> None:
        framer = Framer()
        try:
            while chunk := await self._reader.read(CHUNK_BYTES):
                self._heard_at = asyncio.get_running_loop().time()
                for message in framer.feed(chunk):
                    more = self._take(message)
                    if more is not None:
                        await more
            self._why = "it closed the connection"
        except (OSError, ValueError) as error:
            self._why = str(error)
        finally:
            self._why = self._why or "the driver closed the connection"
            for answer in self._pending.values():
                if not answer.done():
                    answer.set_exception(self._gone())

    def _take(self, message: Any) -> Awaitable[None] | None:
        if not isinstance(message, dict):
            raise ValueError(f"{self._peer} sent a message that is no object")  # noqa: TRY004  (ends the connection)
        method, number = message.get("method"), message.get("id")
        if method == "echo" and number is not None:
            self._send({**self._envelope, "result": message.get("params"), "error": None, "id": number})
        elif isinstance(method, str):
            return self._notified(method, message.get("params"))
        elif (answer := self._pending.get(number) if isinstance(number, int) else None) and not answer.done():
            if message.get("error") is not None:
                answer.set_exception(JsonRpcError(message["error"]))
            else:
                answer.set_result(message.get("result"))
        return None

    def _gone(self) -> DpuError:
        return DpuError(
            Reason.UNAVAILABLE,
            f"the connection to {self._peer} ended: {self._why}",
            remedy="repeat the call; the daemon reconnects by itself",
        )


async def _closed(writer: asyncio.StreamWriter) -> None:
    try:
        await writer.wait_closed()
    except OSError as error:
        LOG.debug("stream ended with an error", error=str(error))


Dial = Callable[[], Awaitable[JsonRpcConnection]]
