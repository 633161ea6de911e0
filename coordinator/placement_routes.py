"""The placement service under the coordinator's API, in JSON; the server has authenticated and authorized."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import Message

from coordinator.api.routes import Call, ExtraResource, RouteGroup
from coordinator.endpoints.cpu.calls import PlacementCalls
from coordinator.endpoints.replies import as_json, refused
from proto.errors import DpuError
from proto.placement.v1 import placement_pb2 as pb
from proto.reasons import Reason

GROUP = "placement.dpupool.io"
VERSION = "v1alpha1"
KIND = "Placement"
BODY_LIMIT_BYTES = 1 << 20

Answer = Callable[[Call], Awaitable[Message]]


def placement_group(calls: PlacementCalls) -> RouteGroup:
    """``placements`` (POST Place, GET, DELETE Release), their ``move`` and ``lift``, ``explanations`` and ``nodes``."""

    async def act(call: Call) -> Message:
        info = call.info
        if call.request.method == "POST":
            return await calls.Place(await _body(call, pb.PlaceRequest(namespace=info.namespace)))
        if call.request.method == "DELETE":
            return await calls.Release(pb.ReleaseRequest(namespace=info.namespace, request_id=info.name))
        return await calls.GetPlacement(pb.GetPlacementRequest(namespace=info.namespace, request_id=info.name))

    async def move(call: Call) -> Message:
        base = pb.MoveRequest(namespace=call.info.namespace, request_id=call.info.name)
        return await calls.Move(await _body(call, base))

    async def lift(call: Call) -> Message:
        base = pb.LiftRequest(namespace=call.info.namespace, request_id=call.info.name)
        return await calls.Lift(await _body(call, base))

    async def explain(call: Call) -> Message:
        return await calls.Explain(await _body(call, pb.PlaceRequest(namespace=call.info.namespace)))

    async def node(call: Call) -> Message:
        cluster, _, name = call.info.name.partition(":")
        asked = pb.GetNodeRequest(node=f"{cluster}/{name}" if name else f"default/{cluster}")
        cpu = call.request.query.get("cpu", "")
        if cpu:
            asked.cpu = _number(cpu)
        return await calls.GetNode(asked)

    listed = (
        ("placements", True, ("create", "get", "delete"), act),
        ("placements/move", True, ("create",), move),
        ("placements/lift", True, ("create",), lift),
        ("explanations", True, ("create",), explain),
        ("nodes", False, ("get",), node),
    )
    return RouteGroup(
        GROUP,
        VERSION,
        tuple(
            ExtraResource(name=name, kind=KIND, namespaced=namespaced, verbs=verbs, handler=_answering(answer))
            for name, namespaced, verbs, answer in listed
        ),
    )


def _answering(answer: Answer) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    async def handle(call: Call) -> web.StreamResponse:
        try:
            message = await answer(call)
        except DpuError as error:
            return refused(error)
        return as_json(json_format.MessageToDict(message))

    return handle


async def _body(call: Call, base: Any) -> Any:
    """The request's JSON over what its path says.

    Raises:
        DpuError: INVALID naming the field.
    """
    fixed = {field.name: value for field, value in base.ListFields()}
    text = await call.request.read()
    if len(text) > BODY_LIMIT_BYTES:
        raise DpuError(Reason.INVALID, "the body is too large", field="body", remedy="send one request")
    try:
        json_format.Parse(text or b"{}", base)
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise DpuError(Reason.INVALID, f"the body: {error}", field="body", remedy="send the request as JSON") from error
    for name, value in fixed.items():
        setattr(base, name, value)
    return base


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise DpuError(Reason.INVALID, f"{text!r} is no CPU", field="cpu", remedy="write a number")
    return int(text)
