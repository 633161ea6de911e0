"""The serial console on a WebSocket: raw bytes in binary frames, ``GET /console?mode=view|write[&takeover=1]``."""

import asyncio

import structlog
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from lab.chassis.console import ConsoleHub, Viewer
from lab.chassis.redfish.access import USER
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger()

SUBPROTOCOL = "plain.dpupool.io"
WRITER_EXISTS = 4409  # also told to the writer that is taken over
INPUT_LIMIT_BYTES = 64 * 1024  # one frame of typing or pasting
SEND_TIMEOUT_S = 30.0  # a viewer whose connection takes nothing for so long is gone


class Consoles:
    """Serves the console's clients; ``close`` ends them all."""

    def __init__(self, hub: ConsoleHub) -> None:
        self._hub = hub

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """One client, from its handshake to its end."""
        wants_to_write = self._mode(request)
        stream = web.WebSocketResponse(protocols=(SUBPROTOCOL,), heartbeat=30, max_msg_size=INPUT_LIMIT_BYTES)
        await stream.prepare(request)
        viewer = self._hub.join(request[USER])
        try:
            if wants_to_write and not self._hub.claim(viewer, takeover=request.query.get("takeover") == "1"):
                reason = f"{self._hub.writer_name} writes; view, or take over"
                await stream.close(code=WRITER_EXISTS, message=reason.encode()[:120])
                return stream
            log.info("console opened", viewer=viewer.name, writes=wants_to_write)
            await self._relay(stream, viewer)
        finally:
            self._hub.leave(viewer)
            log.info("console closed", viewer=viewer.name, why=viewer.ended)
        return stream

    def _mode(self, request: web.Request) -> bool:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise DpuError(Reason.INVALID, "the console is a WebSocket", remedy=f"upgrade with {SUBPROTOCOL}")
        mode = request.query.get("mode", "view")
        if mode not in {"view", "write"}:
            raise DpuError(Reason.INVALID, f"{mode!r} is no mode", field="mode", remedy="give view or write")
        return mode == "write"

    async def _relay(self, stream: web.WebSocketResponse, viewer: Viewer) -> None:
        showing = asyncio.create_task(self._show(stream, viewer))
        try:
            async for message in stream:
                if not await self._take(stream, viewer, message):
                    break
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)

    async def _take(self, stream: web.WebSocketResponse, viewer: Viewer, message: WSMessage) -> bool:
        if message.type not in {WSMsgType.BINARY, WSMsgType.TEXT}:
            return False
        data = message.data if isinstance(message.data, bytes) else message.data.encode()
        if await self._hub.type(viewer, data):
            return True
        await stream.close(code=WSCloseCode.POLICY_VIOLATION, message=b"opened to view only")
        return False

    async def _show(self, stream: web.WebSocketResponse, viewer: Viewer) -> None:
        async for data in viewer.output():
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await stream.send_bytes(data)
            except (TimeoutError, ConnectionError):
                viewer.end("its connection takes no data")
        code = WRITER_EXISTS if viewer.taken_over else WSCloseCode.TRY_AGAIN_LATER
        await stream.close(code=code, message=viewer.ended.encode()[:120], drain=False)
