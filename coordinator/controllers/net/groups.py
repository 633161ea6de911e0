"""SecurityGroups: how many members they have, and what of them cannot be read."""

import msgspec

from coordinator.controllers.loop import NEVER, Again
from coordinator.controllers.net.context import NetContext
from coordinator.core.conditions import Aspect, Truth
from coordinator.core.machine.names import count
from coordinator.core.net.policy.index import PolicyIndex
from coordinator.core.net.policy.model import OwnerKind
from coordinator.core.net.standing import NO_OVN, NO_OVN_REMEDY
from coordinator.core.objects.kinds import Kind
from proto.errors import DpuError
from proto.reasons import Reason


class GroupController:
    """Looks at SecurityGroups.

    Args:
        policies: knows members and faults; None without an OVN.
    """

    def __init__(self, context: NetContext, policies: PolicyIndex | None) -> None:
        self._context = context
        self._policies = policies

    async def reconcile(self, key: str) -> Again:
        """Look at one group."""
        group = self._context.caches.groups.get(key)
        if group is None or group.metadata.deleting:
            return NEVER
        members = len(self._policies.group_members(key)) if self._policies is not None else 0
        problem = self._problem(key)
        conditions = self._context.condition(
            group.status.conditions,
            Aspect.READY,
            group.metadata,
            truth=Truth.FALSE if problem else Truth.TRUE,
            reason=problem.reason.value if problem else "Enforced",
            message=str(problem)[:1024] if problem else count(members, "member"),
        )
        status = msgspec.structs.replace(
            group.status, observed_generation=group.metadata.generation, members=members, conditions=conditions
        )
        await self._context.write_status(Kind.SECURITY_GROUP, group, status)
        return NEVER

    def _problem(self, key: str) -> DpuError | None:
        if self._policies is None:
            return DpuError(Reason.WRONG_STATE, f"{NO_OVN}, so nothing enforces it", remedy=NO_OVN_REMEDY)
        return next(iter(self._policies.faults((OwnerKind.GROUP.value, key))), None)
