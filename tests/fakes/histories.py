"""A storage plant behind a network that loses answers and delivers calls late; controllers driven by hand."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from coordinator.clients.model import BmcEndpoint
from coordinator.controllers.attachment import AttachmentController
from coordinator.controllers.context import Caches, Context
from coordinator.controllers.credentials import Credentials
from coordinator.controllers.events import Recorder
from coordinator.controllers.snapshot import SnapshotController
from coordinator.controllers.sweep import Sweeper
from coordinator.controllers.volume import VolumeController
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json, Metadata
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.objects import Place
from tests.fakes.plant import Plant

LATE = {"export_volume", "unexport_volume", "attach", "detach", "set_qos", "delete_volume", "delete_snapshot"}
"""Calls that may be executed long after their caller gave them up."""

GIVEN_UP, UNHEARD = 0.15, 0.08
"""How likely an ill network holds a call back, and loses its answer."""

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Call = Callable[[], Coroutine[Any, Any, Any]]


class Quiet(Recorder):
    """Writes no Events."""

    def tell(self, kind: Kind | Foreign, meta: Metadata, reason: str, message: str, *, warning: bool = False) -> None:
        """Nothing."""


class Network:
    """Between the coordinator and everybody else. `held` are calls that were given up and not executed yet."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.ill = True
        self.held: list[Call] = []

    async def carry(self, name: str, call: Call) -> Any:
        """Deliver a call: well, or without its answer, or later."""
        luck = self.dice.random() if self.ill else 1.0
        if luck < GIVEN_UP and name in LATE:
            self.held.append(call)
            raise DpuError(Reason.DEADLINE, f"{name} was given up")
        answer = await call()
        if luck < GIVEN_UP + UNHEARD:
            raise DpuError(Reason.UNAVAILABLE, f"the answer of {name} was lost")
        return answer

    async def deliver(self) -> None:
        """Execute one of the calls that were given up; nobody hears of its end."""
        if self.held:
            call = self.held.pop(self.dice.randrange(len(self.held)))
            try:
                await call()
            except DpuError:
                return


class Far:
    """Any client at the other side of a network."""

    def __init__(self, inner: Any, network: Network) -> None:
        self._inner = inner
        self._network = network

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._network.carry(name, lambda: found(*args, **kwargs))

        return call


class FarPlant:
    """A plant's outside behind a network."""

    def __init__(self, plant: Plant, network: Network) -> None:
        self._plant = plant
        self._network = network

    def dpu(self, name: str, address: str, server_name: str) -> Any:
        return Far(self._plant.dpu(name, address, server_name), self._network)

    def backend(self, name: str) -> Any:
        return Far(self._plant.backend(name), self._network)

    def backends(self) -> tuple[str, ...]:
        return self._plant.backends()

    def bmc(self, endpoint: BmcEndpoint) -> Any:
        return self._plant.bmc(endpoint)


class Hand:
    """A coordinator's controllers of storage, each look made when the test says so."""

    def __init__(self, plant: Plant, network: Network) -> None:
        self._plant = plant
        self.context = Context(
            api=plant.api,
            outside=FarPlant(plant, network),
            caches=Caches(),
            events=Quiet(plant.api, lambda: NOW),
            clock=lambda: NOW,
        )
        credentials = Credentials(self.context)
        self._looks = {
            Kind.VOLUME: VolumeController(self.context).reconcile,
            Kind.SNAPSHOT: SnapshotController(self.context).reconcile,
            Kind.ATTACHMENT: AttachmentController(self.context, credentials).reconcile,
        }
        self._seen: dict[Place, Json] = {}
        self.see()

    def see(self) -> None:
        """Have the caches be as the API is."""
        objects = self._plant.api.objects
        caches = self.context.caches.by_kind
        for place in [place for place in self._seen if place not in objects]:
            caches[place[0]].drop(self._seen.pop(place))
        for place, found in objects.items():
            before = self._seen.get(place)
            if found is before or place[0] not in caches:
                continue
            if before is not None and before["metadata"]["uid"] != found["metadata"]["uid"]:
                caches[place[0]].drop(before)
            caches[place[0]].absorb(found)
            self._seen[place] = found

    def objects(self) -> list[tuple[Kind, str]]:
        """Everything that there is to look at."""
        return [
            (kind, f"{namespace}/{name}") for kind, namespace, name in self._plant.api.objects if kind in self._looks
        ]

    async def look(self, *keys: tuple[Kind, str]) -> None:
        """Look at these, all at the same time, as workers do."""
        self.see()
        await asyncio.gather(*(self._one(kind, key) for kind, key in keys))
        self.see()

    async def _one(self, kind: Kind, key: str) -> None:
        try:
            await self._looks[kind](key)
        except DpuError:
            return

    async def sweep(self) -> None:
        """Take from every DPU what nobody wants."""
        for dpu in self.context.caches.dpus.all():
            sweeper = Sweeper(self.context)
            try:
                await sweeper.remove(dpu, await sweeper.find(dpu))
            except DpuError:
                return
