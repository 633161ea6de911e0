"""Says of each PlacementPolicy whether it can be used."""

import msgspec

from coordinator.controllers.cpu.context import CpuContext
from coordinator.controllers.loop import NEVER, Again
from coordinator.core.conditions import Aspect, Truth
from coordinator.core.cpu.policies import Plugs, pipeline_of
from coordinator.core.objects.kinds import Kind
from proto.errors import DpuError


class PolicyController:
    """Looks at one PlacementPolicy."""

    def __init__(self, context: CpuContext, plugs: Plugs) -> None:
        self._context = context
        self._plugs = plugs

    async def reconcile(self, name: str) -> Again:
        """One look."""
        found = self._context.caches.policies.get(name)
        if found is None or found.metadata.deleting:
            return NEVER
        truth, reason = Truth.TRUE, "Usable"
        try:
            pipeline = pipeline_of(found, self._plugs)
            filters = " -> ".join(each.name for each in pipeline.filters)
            rankers = ", ".join(f"{weight:g} x {each.name}" for each, weight in pipeline.rankers)
            message = f"{filters}; best by {rankers}"
        except DpuError as error:
            truth, reason, message = Truth.FALSE, "UnknownName", str(error)
        conditions = self._context.condition(
            found.status.conditions, Aspect.READY, found.metadata, truth=truth, reason=reason, message=message
        )
        status = msgspec.structs.replace(
            found.status, observed_generation=found.metadata.generation, conditions=conditions
        )
        await self._context.write_status(Kind.PLACEMENT_POLICY, found, status)
        return NEVER
