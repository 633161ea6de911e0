"""bm-api: one call, from the authenticated request to the answer."""

import time
from typing import Any, Protocol

import msgspec
import structlog
from aiohttp import web

from coordinator.endpoints.attachments import AttachmentActions, Dpus
from coordinator.endpoints.callers import Caller
from coordinator.endpoints.console import ConsoleProxy
from coordinator.endpoints.machines import MachineActions
from coordinator.endpoints.measures import CALL_SECONDS, CALLS
from coordinator.endpoints.objects import Objects
from coordinator.endpoints.offload import OffloadActions, Switches
from coordinator.endpoints.replies import as_json, refused
from coordinator.endpoints.subresources import Action, Call
from proto.errors import DpuError
from proto.reasons import Reason

BODY_LIMIT_BYTES = 64 << 10
OFFLOAD = frozenset({Action.OFFLOAD, Action.NODE_OFFLOAD})

log = structlog.get_logger()


class Daemons(Dpus, Switches, Protocol):
    """What is asked of daemons on behalf of a caller."""


class BmApi:
    """The subresources of machines, attachments, DPUs and network nodes, for callers who are known and allowed.

    Args:
        objects: the API, as the coordinator itself.
        dpus: asked for what a disk has moved, and where flows are forwarded.
    """

    def __init__(self, objects: Objects, dpus: Daemons) -> None:
        self._offload = OffloadActions(objects, dpus)
        self._attachments = AttachmentActions(objects, dpus)
        self._machines = MachineActions(objects)
        self._consoles = ConsoleProxy(objects)

    async def close(self) -> None:
        """End open consoles; to be called before the server stops."""
        await self._consoles.close()

    async def handle(self, request: web.Request, call: Call, caller: Caller) -> web.StreamResponse:
        """Answer a call; a DpuError becomes a ``Status``."""
        start = time.perf_counter()
        try:
            if call.action is Action.CONSOLE:
                reply: web.StreamResponse = await self._consoles.serve(request, call, caller)
            elif call.action is Action.STATS:
                reply = as_json(await self._attachments.stats(call))
            elif call.action in OFFLOAD:
                reply = as_json(await self._offload.show(call, request.query))
            else:
                body = await _body(request)
                reply = as_json(await self._machines.perform(call, body, caller))
        except DpuError as error:
            CALLS.labels(call.action.value, error.reason.value).inc()
            log.info(
                "call refused",
                action=call.action.value,
                name=call.name,
                namespace=call.namespace,
                user=caller.name,
                reason=error.reason.value,
                why=str(error),
            )
            return refused(error)
        CALLS.labels(call.action.value, "OK").inc()
        if call.action is not Action.CONSOLE:
            CALL_SECONDS.labels(call.action.value).observe(time.perf_counter() - start)
        return reply


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object in a request's body; empty when there is none.

    Raises:
        DpuError: the body is too large or no JSON object (INVALID).
    """
    if (request.content_length or 0) > BODY_LIMIT_BYTES:
        raise DpuError(Reason.INVALID, "the body is too large", field="body", remedy="send one disk or NIC")
    data = await request.read()
    try:
        return msgspec.json.decode(data, type=dict[str, Any]) if data.strip() else {}
    except msgspec.DecodeError as error:
        raise DpuError(
            Reason.INVALID, f"the body is no JSON object: {error}", field="body", remedy="send JSON"
        ) from error
