"""The socket of a fake SPDK: no framing, looked at once per tick, at most so many clients, requests of bounded size."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.fakes.spdk.refusal import PARAMS, REQUEST, DiedError, RefusalError

MOST_CONNECTIONS = 64
LONGEST_REQUEST = {True: 256 * 1024, False: 32 * 1024}
MOST_VALUES = {True: 8192, False: 1024}

ACCEPTED_S = 0.02
"""From an accepted connection to its first line of code here."""

Handler = Callable[[str, Any], Awaitable[Any]]


class Wire:
    """The server.

    Args:
        path: of the socket.
        handle: answers one call.
        tick_s: between two looks at the sockets; 0 looks at once.
        newer: of release 26.05 or later: longer requests, batches.
    """

    def __init__(self, path: Path, handle: Handler, *, tick_s: float, newer: bool) -> None:
        self._path = path
        self._handle = handle
        self._tick_s = tick_s
        self._newer = newer
        self._server: asyncio.Server | None = None
        self._turn = asyncio.Semaphore(MOST_CONNECTIONS)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.requests = 0
        self.looks = 0
        """Ticks at which there was something to read: an upper bound of what one client's round trips can be."""
        self._last_look = -1
        self.faults: list[str] = []
        """Calls that this fake could not answer: bugs of the fake."""

    async def start(self) -> None:
        """Listens; a socket that a killed process left is taken over."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path=str(self._path), limit=1 << 22)

    async def stop(self, *, killed: bool) -> None:
        """Ends all connections; a killed process leaves its socket file."""
        server, self._server = self._server, None
        if server is not None:
            # One that was accepted in this very turn of the loop would be forgotten by a closed server, neither served
            # nor ended: its client would wait for nothing.
            for listening in server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            server.close()
        for writer in tuple(self._writers):
            transport: Any = writer.transport
            transport.abort()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
        await asyncio.sleep(ACCEPTED_S)  # connections that were just accepted end, too
        if not killed:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._server is None:
            transport: Any = writer.transport
            transport.abort()
            return
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            async with self._turn:
                await self._converse(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            with contextlib.suppress(RuntimeError):
                writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder, text = json.JSONDecoder(), ""
        while chunk := await reader.read(1 << 20):
            await self._until_next_look()
            text += (chunk + await _buffered(reader)).decode()
            while text := text.lstrip():
                try:
                    request, end = decoder.raw_decode(text)
                except json.JSONDecodeError as error:
                    if error.pos < len(text) or len(text) > LONGEST_REQUEST[self._newer]:
                        return
                    break
                if end > LONGEST_REQUEST[self._newer] or _values(request) > MOST_VALUES[self._newer]:
                    return
                text = text[end:]
                self._begin(request, writer)

    async def _until_next_look(self) -> None:
        if not self._tick_s:
            self.looks += 1
            return
        now = asyncio.get_running_loop().time()
        look = int(now / self._tick_s) + 1
        if look != self._last_look:
            self._last_look = look
            self.looks += 1
        await asyncio.sleep(look * self._tick_s - now)

    def _begin(self, request: Any, writer: asyncio.StreamWriter) -> None:
        """Calls begin in order, and end when they end."""
        task = asyncio.create_task(self._answer(request, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Any, writer: asyncio.StreamWriter) -> None:
        if isinstance(request, list) and self._newer:
            replies = [reply for each in request if (reply := await self._reply(each)) is not None]
            answer: Any = replies or None
        else:
            answer = await self._reply(request)
        if answer is not None and not writer.is_closing():
            writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")

    async def _reply(self, request: Any) -> dict[str, Any] | None:
        self.requests += 1
        head = {"jsonrpc": "2.0"}
        if not isinstance(request, dict) or request.get("jsonrpc", "2.0") != "2.0" or "method" not in request:
            return {**head, "id": None, "error": {"code": REQUEST, "message": "Invalid request"}}
        number = request.get("id")
        try:
            result = await self._handle(request["method"], request.get("params"))
        except RefusalError as error:
            return {**head, "id": number, "error": {"code": error.code, "message": error.message}}
        except (KeyError, TypeError, ValueError):
            return {**head, "id": number, "error": {"code": PARAMS, "message": "Invalid parameters"}}
        except DiedError:
            return None
        except Exception as error:
            self.faults.append(f"{request['method']}: {error!r}")
            raise
        return None if number is None else {**head, "id": number, "result": result}


async def _buffered(reader: asyncio.StreamReader) -> bytes:
    """What has come since, without waiting."""
    try:
        async with asyncio.timeout(0):
            return await reader.read(1 << 20)
    except TimeoutError:
        return b""


def _values(request: Any) -> int:
    """How many JSON values a request has, counting names as the server's parser does."""
    if isinstance(request, dict):
        return 1 + sum(1 + _values(value) for value in request.values())
    if isinstance(request, list):
        return 1 + sum(map(_values, request))
    return 1
