"""Generations of a machine's ports and seed on its DPU: later wishes have higher ones, whoever wishes."""

from collections.abc import Awaitable, Callable

from coordinator.core.objects.machine import Machine
from proto.errors import DpuError
from proto.reasons import Reason

STEPS = 256
"""Generations within one generation of the machine's spec: for changes that come from elsewhere, such as a Secret."""


def first_fence(machine: Machine) -> int:
    """The lowest generation that this spec's things may have."""
    return machine.metadata.generation * STEPS


def last_fence(machine: Machine) -> int:
    """A generation that takes away whatever this spec and those before it have made."""
    return first_fence(machine) + STEPS - 1


async def rising(machine: Machine, act: Callable[[int], Awaitable[str]]) -> str:
    """Do something under the lowest generation that the DPU accepts.

    Raises:
        DpuError: of the act, once no higher generation helps.
    """
    refused = 0
    for generation in range(first_fence(machine), last_fence(machine)):
        try:
            return await act(generation)
        except DpuError as error:
            refused += error.reason is Reason.ALREADY_EXISTS
            if error.reason not in {Reason.STALE_GENERATION, Reason.ALREADY_EXISTS} or refused > 1:
                raise
    raise DpuError(
        Reason.CONFLICT,
        f"machine {machine.metadata.key} was changed too often under one generation",
        remedy="change its spec, which begins a new one",
    )
