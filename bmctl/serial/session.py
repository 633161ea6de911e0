"""One sitting at a machine's serial console."""

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import aiohttp

from bmctl.serial.escape import EscapeReader
from bmctl.serial.keyboard import keys
from bmctl.status_reply import refusal
from bmctl.transport import unreachable
from proto.errors import DpuError
from proto.reasons import Reason

PROTOCOL = "plain.dpupool.io"
HEARTBEAT_S = 20.0
KEYS_HELP = b"\r\n[~. or Ctrl-] leaves, ~~ sends ~, ~? shows this]\r\n"

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "YSBrZXkgb2YgYm1jdGwuLg==",
    "Sec-WebSocket-Protocol": PROTOCOL,
}


class Close(IntEnum):
    """Close codes of the console's WebSocket."""

    NORMAL = 1000
    GOING_AWAY = 1001
    ABNORMAL = 1006
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    OTHER_WRITER = 4409


ORDERLY = (Close.NORMAL, Close.GOING_AWAY, Close.SERVICE_RESTART, Close.TRY_AGAIN_LATER)


@dataclass(frozen=True)
class Ending:
    """Why the server ended the console."""

    code: int
    reason: str


@dataclass(frozen=True)
class Endpoint:
    """Where the console is and how to get in.

    Attributes:
        url: of the WebSocket, with mode and takeover.
        headers: credentials.
        tls: context for wss; None for ws.
        server_name: name expected in the certificate; the URL's host when None.
        writes: whether keys are sent; a viewer's are only looked at for the ones that leave.
    """

    url: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None
    server_name: str | None
    writes: bool = True


async def sit(endpoint: Endpoint, keyboard: int, screen: int, *, linger_s: float) -> str:
    """Show the console and send keys until the user leaves or the console ends.

    Args:
        endpoint: where.
        keyboard: file descriptor of the keys.
        screen: file descriptor of the output.
        linger_s: after the end of piped keys, how long the console must be silent before this returns.

    Returns:
        One phrase: why it is over.

    Raises:
        DpuError: the server refuses, cannot be reached, or another writer holds the console.
    """
    async with aiohttp.ClientSession() as session:
        try:
            socket = await session.ws_connect(
                endpoint.url,
                protocols=(PROTOCOL,),
                headers=endpoint.headers,
                ssl=endpoint.tls if endpoint.tls is not None else True,
                server_hostname=endpoint.server_name,
                heartbeat=HEARTBEAT_S,
                max_msg_size=0,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise await _refused(session, endpoint, error) from error
        except aiohttp.ClientError as error:
            raise unreachable(endpoint.url.split("/apis/", 1)[0], str(error)) from error
        async with socket:
            return await _converse(socket, keyboard, screen, linger_s=linger_s, writes=endpoint.writes)


async def _refused(
    session: aiohttp.ClientSession, endpoint: Endpoint, error: aiohttp.WSServerHandshakeError
) -> DpuError:
    """The refusal in full: the handshake's error drops the body, the same question by hand brings it."""
    tls = endpoint.tls if endpoint.tls is not None else True
    plain = endpoint.url.replace("ws", "http", 1)
    try:
        headers = {**endpoint.headers, **HANDSHAKE}
        async with session.get(plain, headers=headers, ssl=tls, server_hostname=endpoint.server_name) as reply:
            if reply.status == error.status:
                return refusal(await reply.json(content_type=None), reply.status)
    except (aiohttp.ClientError, ValueError):
        pass
    return refusal(None, error.status)


async def _converse(
    socket: aiohttp.ClientWebSocketResponse, keyboard: int, screen: int, *, linger_s: float, writes: bool
) -> str:
    heard = asyncio.Event()
    output = asyncio.create_task(_show(socket, screen, heard))
    typing = asyncio.create_task(_type(socket, keyboard, screen, writes=writes))
    try:
        await asyncio.wait({output, typing}, return_when=asyncio.FIRST_COMPLETED)
        if typing.done() and not output.done():
            if typing.result():
                return "left"
            await _fall_silent(output, heard, linger_s)
        return _ended(output.result()) if output.done() else "end of input"
    finally:
        for task in (output, typing):
            task.cancel()
        await asyncio.gather(output, typing, return_exceptions=True)


async def _fall_silent(output: asyncio.Task[Ending], heard: asyncio.Event, linger_s: float) -> None:
    """Wait until nothing has come for ``linger_s`` seconds, or the console has ended."""
    while not output.done():
        heard.clear()
        waiting = asyncio.create_task(heard.wait())
        done, _ = await asyncio.wait({output, waiting}, timeout=linger_s, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not done:
            return


async def _show(socket: aiohttp.ClientWebSocketResponse, screen: int, heard: asyncio.Event) -> Ending:
    """Write what the machine says to the screen, until the server ends it."""
    while True:
        message = await socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            _write(screen, message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            _write(screen, message.data.encode())
        elif message.type is aiohttp.WSMsgType.CLOSE:
            return Ending(int(message.data or Close.NORMAL), str(message.extra or ""))
        else:
            return Ending(socket.close_code or Close.ABNORMAL, str(socket.exception() or ""))
        heard.set()


async def _type(socket: aiohttp.ClientWebSocketResponse, keyboard: int, screen: int, *, writes: bool) -> bool:
    """Send keys to the machine; whether the user left, rather than the keys ended."""
    reader = EscapeReader()
    async for data in keys(keyboard):
        typed = reader.feed(data)
        if typed.data and writes:
            await socket.send_bytes(typed.data)
        if typed.asked:
            _write(screen, KEYS_HELP)
        if typed.leave:
            return True
    return False


def _ended(ending: Ending) -> str:
    if ending.code == Close.OTHER_WRITER:
        raise DpuError(
            Reason.CONFLICT,
            f"somebody else writes to this console: {ending.reason}",
            remedy="watch with --view, or take it over with --takeover",
        )
    if ending.code in ORDERLY:
        return f"the console was closed: {ending.reason}" if ending.reason else "the console was closed"
    why = f": {ending.reason}" if ending.reason else ""
    raise DpuError(Reason.UNAVAILABLE, f"the console broke off (code {ending.code}){why}", remedy="open it again")


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
