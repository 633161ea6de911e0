"""Runs commands in a machine through its serial console, as an operator would: through the coordinator."""

import re
import ssl
import time
from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import Self

import aiohttp

PROMPT_S = 180.0
COMMAND_S = 180.0
NUMBERS = count(1)


class Guest:
    """The writer of one machine's console.

    Args:
        url: of the console subresource, https.
        context: carries the administrator's certificate.
    """

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self._url = url
        self._context = context
        self._seen = ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(
            f"{self._url}?mode=write&takeover=1", ssl=self._context, protocols=("plain.dpupool.io",)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._socket.close()
        await self._session.close()

    async def run(self, command: str, timeout_s: float = COMMAND_S) -> str:
        """Run a shell command to its end and return what it printed.

        Raises:
            AssertionError: it failed; carries its output.
            TimeoutError: it did not end in time; carries the last of the console.
        """
        mark = f"MK{next(NUMBERS)}"
        # The shell echoes what is typed; the marker is told from its echo by the expanded arithmetic.
        await self._socket.send_bytes(f"\n{command}\necho {mark}$((40+2))E=$?\n".encode())
        ended = re.compile(rf"{mark}42E=(\d+)")
        text = await self._until(lambda seen: bool(ended.search(seen)), timeout_s)
        found = ended.search(text)
        assert found is not None
        output = text[: found.start()]
        self._seen = text[found.end() :]
        assert found.group(1) == "0", f"{command!r} failed: {output[-500:]}"
        return output

    async def ready(self, timeout_s: float = PROMPT_S) -> None:
        """Wait until a shell answers."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                await self.run("true", 3.0)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise
            else:
                return

    async def _until(self, done: Callable[[str], bool], timeout_s: float) -> str:
        deadline = time.monotonic() + timeout_s
        while not done(self._seen):
            left = deadline - time.monotonic()
            try:
                message = await self._socket.receive(timeout=max(left, 0.001))
            except TimeoutError:
                raise TimeoutError(f"the console says no more than {self._seen[-500:]!r}") from None
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise ConnectionError(f"the console closed: {message.data} {message.extra}")
            self._seen += message.data.decode(errors="replace")
        return self._seen
