"""Actions that change a machine: read, decide, patch with the version read, again when somebody was faster."""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from coordinator.endpoints import changes
from coordinator.endpoints.callers import Caller
from coordinator.endpoints.changes import Object, Patch
from coordinator.endpoints.objects import Objects
from coordinator.endpoints.subresources import Action, Call
from proto.errors import DpuError
from proto.reasons import Reason

ATTEMPTS = 8

log = structlog.get_logger()


def _conflict(error: BaseException) -> bool:
    return isinstance(error, DpuError) and error.reason is Reason.CONFLICT


class MachineActions:
    """Carries out all actions but the console.

    Args:
        objects: the API.
        clock: the time now; for spec.restartedAt.
    """

    def __init__(self, objects: Objects, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._objects = objects
        self._clock = clock

    async def perform(self, call: Call, body: Object, caller: Caller) -> Object:
        """The machine after the action.

        Args:
            call: what to do to which machine.
            body: the disk or NIC to add; ignored by other actions.
            caller: for the log.
        """
        decide = self._decision(call, body)
        machine = await self._change(call, decide)
        log.info(
            "machine action",
            action=call.action.value,
            verb=call.verb,
            namespace=call.namespace,
            machine=call.name,
            item=call.item or body.get("name", ""),
            user=caller.name,
        )
        return machine

    def _decision(self, call: Call, body: Object) -> Callable[[Object], Patch]:
        if call.item:
            return lambda machine: changes.remove(machine, call.action.value, call.item)
        decisions: dict[Action, Callable[[Object], Patch]] = {
            Action.START: lambda machine: changes.set_power(machine, on=True),
            Action.STOP: lambda machine: changes.set_power(machine, on=False),
            Action.RESTART: lambda machine: changes.restart(machine, self._clock().isoformat(timespec="microseconds")),
            Action.DISKS: lambda machine: changes.add_disk(machine, body),
            Action.NICS: lambda machine: changes.add_nic(machine, body),
        }
        return decisions[call.action]

    async def _change(self, call: Call, decide: Callable[[Object], Patch]) -> Object:
        retrying = AsyncRetrying(
            retry=retry_if_exception(_conflict),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.02, max=0.5),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                machine = await self._objects.machine(call.namespace, call.name)
                patch = decide(machine)
                if not patch:
                    return machine
                version = {"metadata": {"resourceVersion": machine["metadata"]["resourceVersion"]}}
                return await self._objects.patch_machine(call.namespace, call.name, patch | version)
        raise AssertionError("tenacity either returns or raises")
