"""A coordinator that dies at the Nth step: every call to the API, a DPU, a storage node or a BMC has two points,

before it is made and after it was answered, at which nothing of the process ever goes on.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from coordinator.clients.model import BmcEndpoint
from tests.fakes.plant import Plant


class Fate:
    """Counts points; at `die_at` the process stands still, and whatever comes to another point after that, too."""

    def __init__(self, die_at: int = 0) -> None:
        self.die_at = die_at
        self.points = 0
        self.where = ""
        self.died = asyncio.Event()

    async def point(self, where: str) -> None:
        """Live on, or not."""
        self.points += 1
        if self.points == self.die_at:
            self.where = where
            self.died.set()
        if self.died.is_set():
            await asyncio.Future()


class Mortal:
    """Any client, with points around its calls. Streams pass through."""

    def __init__(self, inner: Any, fate: Fate) -> None:
        self._inner = inner
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._wrapped(name, found) if inspect.iscoroutinefunction(found) else found

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        where = f"{type(self._inner).__name__}.{name}"

        async def mortal(*args: Any, **kwargs: Any) -> Any:
            await self._fate.point(f"before {where}")
            answer = await call(*args, **kwargs)
            await self._fate.point(f"after {where}")
            return answer

        return mortal


class MortalOutside:
    """A plant's outside, with points."""

    def __init__(self, plant: Plant, fate: Fate) -> None:
        self._plant = plant
        self._fate = fate

    def dpu(self, name: str, address: str, server_name: str) -> Any:
        return Mortal(self._plant.dpu(name, address, server_name), self._fate)

    def backend(self, name: str) -> Any:
        return Mortal(self._plant.backend(name), self._fate)

    def backends(self) -> tuple[str, ...]:
        return self._plant.backends()

    def bmc(self, endpoint: BmcEndpoint) -> Any:
        return Mortal(self._plant.bmc(endpoint), self._fate)
