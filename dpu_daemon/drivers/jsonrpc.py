"""JSON-RPC over a stream, pipelined by id: OVSDB's 1.0 flavour (RFC 7047) and 2.0 alike."""

import asyncio
import codecs
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from proto.errors import DpuError
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

CHUNK_BYTES = 256 * 1024
LONGEST_MESSAGE_CHARS = 64 * 1024 * 1024
"""Far above a full copy of a large switch database; more is garbage that never becomes a message."""

Notified = Callable[[str, Any], None]


class JsonRpcError(Exception):
    """The other side answered with an error; `error` is what it sent."""

    def __init__(self, error: Any) -> None:
        super().__init__(json.dumps(error))
        self.error = error


class Framer:
    """Cuts a byte stream into JSON objects and arrays; neither newlines nor lengths are needed between them."""

    def __init__(self) -> None:
        self._decoder = json.JSONDecoder()
        self._characters = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""

    def feed(self, chunk: bytes) -> list[Any]:
        """Complete values so far.

        Raises:
            ValueError: not UTF-8, or more than any message can be without being one.
        """
        self._rest += self._characters.decode(chunk)
        values: list[Any] = []
        position, end = 0, len(self._rest)
        while position < end:
            if self._rest[position].isspace():
                position += 1
                continue
            try:
                value, position = self._decoder.raw_decode(self._rest, position)
            except json.JSONDecodeError:
                break
            values.append(value)
        self._rest = self._rest[position:]
        if len(self._rest) > LONGEST_MESSAGE_CHARS or (self._rest and self._rest[0] not in "{["):
            raise ValueError("the other side does not speak JSON")
        return values


class JsonRpcConnection:
    """One connection; a keeper.Connection.

    Args:
        peer: what is on the other side, for sentences.
        envelope: members added to each message, such as ``{"jsonrpc": "2.0"}``.
        notified: called with method and params of each notification.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        peer: str,
        envelope: Mapping[str, Any],
        notified: Notified,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._envelope = dict(envelope)
        self._notified = notified
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._next_id = 0
        self._why = ""
        self._task = asyncio.create_task(self._read(), name=f"read {peer}")

    async def call(self, method: str, params: Any, *, timeout_s: float) -> Any:
        """The result of one request.

        Raises:
            JsonRpcError: refused by the other side.
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
        self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def _read(self) -> None:
        framer = Framer()
        try:
            while chunk := await self._reader.read(CHUNK_BYTES):
                for message in framer.feed(chunk):
                    self._take(message)
            self._why = "it closed the connection"
        except (OSError, ValueError) as error:
            self._why = str(error)
        finally:
            self._why = self._why or "the driver closed the connection"
            for answer in self._pending.values():
                if not answer.done():
                    answer.set_exception(self._gone())

    def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise ValueError(f"{self._peer} sent a message that is no object")  # noqa: TRY004  (ends the connection)
        method, number = message.get("method"), message.get("id")
        if method == "echo" and number is not None:
            self._send({**self._envelope, "result": message.get("params"), "error": None, "id": number})
        elif isinstance(method, str):
            self._notified(method, message.get("params"))
        elif (answer := self._pending.get(number) if isinstance(number, int) else None) and not answer.done():
            if message.get("error") is not None:
                answer.set_exception(JsonRpcError(message["error"]))
            else:
                answer.set_result(message.get("result"))

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
