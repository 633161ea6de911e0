"""The serial console: a WebSocket here, joined to the BMC's."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import structlog
from aiohttp import WSMsgType, web

from coordinator.endpoints.bmc import BmcConsole, console_of
from coordinator.endpoints.callers import Caller
from coordinator.endpoints.measures import CONSOLE_SESSIONS
from coordinator.endpoints.objects import Objects
from coordinator.endpoints.subresources import Call
from proto.errors import DpuError
from proto.reasons import Reason

PROTOCOL = "plain.dpupool.io"
CONNECT_S = 10.0
HEARTBEAT_S = 20.0
FRAME_LIMIT_BYTES = 1 << 20
MODES = ("view", "write")
NO_STATUS = 1005
UNSENDABLE = {1005, 1006, 1015}
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012

log = structlog.get_logger()


@dataclass(frozen=True)
class Ending:
    """Why one side of a console ended: its close code and sentence."""

    code: int
    reason: bytes


class ConsoleProxy:
    """Opens consoles of machines for callers.

    Args:
        objects: the API.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._open: set[web.WebSocketResponse] = set()

    async def close(self) -> None:
        """End all sittings; their users are told that the service restarts and may come again."""
        for client in list(self._open):
            await client.close(code=SERVICE_RESTART, message=b"the coordinator stops; open it again")

    async def serve(self, request: web.Request, call: Call, caller: Caller) -> web.StreamResponse:
        """One sitting at a console, from the handshake to the close of either side.

        The BMC is connected to first, so that what is wrong there is told as a plain HTTP refusal.

        Raises:
            DpuError: the request is no console request, or the BMC cannot be reached.
        """
        query = _query(request)
        machine = await self._objects.machine(call.namespace, call.name)
        bmc = await console_of(self._objects, machine)
        bound = log.bind(machine=call.name, namespace=call.namespace, host=bmc.host, user=caller.name, **query)
        async with aiohttp.ClientSession() as session, await _dial(session, bmc, query) as upstream:
            client = web.WebSocketResponse(
                protocols=(PROTOCOL,), heartbeat=HEARTBEAT_S, max_msg_size=FRAME_LIMIT_BYTES, compress=False
            )
            await client.prepare(request)
            with CONSOLE_SESSIONS.labels(query["mode"]).track_inprogress():
                bound.info("console opened")
                self._open.add(client)
                try:
                    ending = await _join(client, upstream)
                finally:
                    self._open.discard(client)
                bound.info("console closed", code=ending.code, why=ending.reason.decode(errors="replace"))
        return client


def _query(request: web.Request) -> dict[str, str]:
    """What to ask of the BMC: the mode, and whether to take over."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise DpuError(
            Reason.INVALID, "the console is a WebSocket", remedy=f"upgrade to {PROTOCOL}, or use bmctl console"
        )
    offered = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if word.strip()]
    if offered and PROTOCOL not in offered:
        raise DpuError(
            Reason.INVALID, f"no known protocol among {', '.join(offered)}", field="Sec-WebSocket-Protocol",
            remedy=f"offer {PROTOCOL}",
        )  # fmt: skip
    mode = request.query.get("mode", "write")
    if mode not in MODES:
        raise DpuError(Reason.INVALID, f"unknown mode {mode!r}", field="mode", remedy="use view or write")
    takeover = request.query.get("takeover", "") in ("1", "true")
    return {"mode": mode} | ({"takeover": "1"} if takeover else {})


async def _dial(
    session: aiohttp.ClientSession, bmc: BmcConsole, query: dict[str, str]
) -> aiohttp.ClientWebSocketResponse:
    try:
        async with asyncio.timeout(CONNECT_S):
            return await session.ws_connect(
                bmc.url,
                params=query,
                protocols=(PROTOCOL,),
                headers={"Authorization": bmc.authorization},
                ssl=bmc.tls if bmc.tls is not None else True,
                heartbeat=HEARTBEAT_S,
                max_msg_size=FRAME_LIMIT_BYTES,
            )
    except aiohttp.WSServerHandshakeError as error:
        if error.status in (401, 403):
            raise DpuError(
                Reason.WRONG_STATE,
                f"the BMC of host {bmc.host} refuses its credentials",
                field="spec.bmc.credentialsSecretRef",
                remedy="correct username and password in that Secret",
            ) from error
        raise DpuError(
            Reason.UNAVAILABLE, f"the BMC of host {bmc.host} answers {error.status}", remedy="look at the BMC"
        ) from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DpuError(
            Reason.UNAVAILABLE,
            f"the BMC of host {bmc.host} cannot be reached: {error or 'no answer in time'}",
            field="spec.bmc.address",
            remedy="check address, certificate authority and the management network",
        ) from error


async def _join(client: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse) -> Ending:
    """Carry frames both ways until one side ends, then end the other with the same code."""
    down = asyncio.create_task(_carry(upstream.receive, client.send_bytes))
    up = asyncio.create_task(_carry(client.receive, upstream.send_bytes))
    try:
        await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
        ending = (down if down.done() else up).result()
    finally:
        for task in (down, up):
            task.cancel()
        await asyncio.gather(down, up, return_exceptions=True)
    code = ending.code if ending.code not in UNSENDABLE else (1000 if ending.code == NO_STATUS else INTERNAL_ERROR)
    await client.close(code=code, message=ending.reason)
    await upstream.close(code=code, message=ending.reason)
    return ending


async def _carry(
    receive: Callable[[], Awaitable[aiohttp.WSMessage]], send: Callable[[bytes], Awaitable[None]]
) -> Ending:
    """Pass data on until the giving side closes or the taking side is gone."""
    while True:
        message = await receive()
        if message.type is WSMsgType.BINARY:
            data = message.data
        elif message.type is WSMsgType.TEXT:
            data = message.data.encode()
        elif message.type is WSMsgType.CLOSE:
            return Ending(int(message.data or NO_STATUS), (message.extra or "").encode())
        else:
            return Ending(INTERNAL_ERROR, b"the connection broke")
        try:
            await send(data)
        except ConnectionError:
            return Ending(INTERNAL_ERROR, b"the other side is gone")
