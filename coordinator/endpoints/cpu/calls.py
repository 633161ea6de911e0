"""The calls of the placement service, however they come in."""

from typing import Any, Protocol

from coordinator.core.cpu.ledger import Ledger
from coordinator.core.cpu.placing import Explained
from coordinator.core.objects.cpu import Placement, PlacementSpec
from coordinator.endpoints.cpu.wire import (
    DEFAULT_NAMESPACE,
    explained_to,
    key_of,
    node_to,
    placement_to,
    spec_from,
)
from proto.errors import DpuError
from proto.placement.v1 import placement_pb2 as pb
from proto.placement.v1 import placement_pb2_grpc
from proto.reasons import Reason


class Scheduler(Protocol):
    """What decides; `coordinator.controllers.cpu.scheduler.Scheduler`."""

    ledger: Ledger

    async def place(self, namespace: str, request_id: str, spec: PlacementSpec) -> Placement: ...

    async def release(self, key: str) -> bool: ...

    async def move(self, key: str, move_id: str, *, force: bool = False) -> Placement: ...

    async def lift(self, key: str, *, lifted: bool) -> Placement: ...

    def explain(self, namespace: str, request_id: str, spec: PlacementSpec) -> list[Explained]: ...

    def get(self, key: str) -> Placement: ...


class PlacementCalls(placement_pb2_grpc.PlacementServiceServicer):
    """Answers from the scheduler, which there is only once the API is served.

    Args:
        scheduler: None until `connect`.
    """

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self._connected = scheduler

    def connect(self, scheduler: Scheduler) -> None:
        """Answer from this one from now on."""
        self._connected = scheduler

    @property
    def _scheduler(self) -> Scheduler:
        if self._connected is None:
            raise DpuError(
                Reason.UNAVAILABLE, "the coordinator is starting", remedy="try again in a moment", retry=True
            )
        return self._connected

    async def Place(self, request: pb.PlaceRequest, _context: Any = None) -> pb.Placement:  # noqa: N802  (gRPC's name)
        key_of(request.namespace, request.request_id)
        found = await self._scheduler.place(
            request.namespace or DEFAULT_NAMESPACE, request.request_id, spec_from(request)
        )
        return placement_to(found, self._scheduler.ledger)

    async def Release(self, request: pb.ReleaseRequest, _context: Any = None) -> pb.ReleaseResponse:  # noqa: N802  (gRPC's name)
        there = await self._scheduler.release(key_of(request.namespace, request.request_id))
        return pb.ReleaseResponse(was_there=there)

    async def Move(self, request: pb.MoveRequest, _context: Any = None) -> pb.Placement:  # noqa: N802  (gRPC's name)
        key = key_of(request.namespace, request.request_id)
        if not request.move_id:
            raise DpuError(Reason.INVALID, "there is no move id", field="moveId", remedy="give each move its own id")
        found = await self._scheduler.move(key, request.move_id, force=request.force)
        return placement_to(found, self._scheduler.ledger)

    async def Lift(self, request: pb.LiftRequest, _context: Any = None) -> pb.Placement:  # noqa: N802  (gRPC's name)
        key = key_of(request.namespace, request.request_id)
        found = await self._scheduler.lift(key, lifted=request.lifted)
        return placement_to(found, self._scheduler.ledger)

    async def Explain(self, request: pb.PlaceRequest, _context: Any = None) -> pb.ExplainResponse:  # noqa: N802  (gRPC's name)
        request_id = request.request_id or "asked"
        told = self._scheduler.explain(request.namespace or DEFAULT_NAMESPACE, request_id, spec_from(request))
        return explained_to(told)

    async def GetPlacement(self, request: pb.GetPlacementRequest, _context: Any = None) -> pb.Placement:  # noqa: N802  (gRPC's name)
        found = self._scheduler.get(key_of(request.namespace, request.request_id))
        return placement_to(found, self._scheduler.ledger)

    async def GetNode(self, request: pb.GetNodeRequest, _context: Any = None) -> pb.Node:  # noqa: N802  (gRPC's name)
        place = self._scheduler.ledger.fleet.get(request.node)
        return node_to(place, request.cpu if request.HasField("cpu") else None)
