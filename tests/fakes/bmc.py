"""A server and its management controller, as Redfish shows it: power takes a moment, a guest may not listen."""

import asyncio
from dataclasses import dataclass, field

from coordinator.clients.model import BmcIdentity, Credentials, PowerAction
from coordinator.core.objects.fleet import PowerState
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass
class FakeServer:
    """A server.

    Attributes:
        obeys: whether the guest shuts itself down when it is asked.
        starts: how often it was powered on.
        looks_until_done: looks at the power that still show the old state after a change.
    """

    password: str = "secret"
    on: bool = False
    obeys: bool = True
    reachable: bool = True
    starts: int = 0
    boots_from_disk: bool = False
    looks_until_done: int = 1
    actions: list[PowerAction] = field(default_factory=list)
    _pending: int = 0
    _next: bool = False

    def set_power(self, on: bool) -> None:
        """Begin a change of the power."""
        self._next, self._pending = on, self.looks_until_done
        if on and not self.on:
            self.starts += 1

    def look(self) -> bool:
        """Whether it is on; the change comes about after some looks."""
        if self._pending:
            self._pending -= 1
            if not self._pending:
                self.on = self._next
        return self.on


class FakeBmc:
    """`coordinator.clients.protocols.Bmc` for a FakeServer."""

    def __init__(self, server: FakeServer, credentials: Credentials, secret: str) -> None:
        self._server = server
        self._credentials = credentials
        self._secret = secret

    async def power(self) -> PowerState:
        await self._reach()
        return PowerState.ON if self._server.look() else PowerState.OFF

    async def act(self, action: PowerAction) -> None:
        await self._reach()
        self._server.actions.append(action)
        if action is PowerAction.ON:
            self._server.set_power(True)
        elif action is PowerAction.FORCE_OFF or self._server.obeys:
            self._server.set_power(False)

    async def boot_from_disk(self) -> None:
        await self._reach()
        self._server.boots_from_disk = True

    async def identity(self) -> BmcIdentity:
        await self._reach()
        return BmcIdentity(vendor="dpupool", system_uuid="11111111-2222-3333-4444-555555555555")

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if not self._server.reachable:
            raise DpuError(Reason.UNAVAILABLE, "the BMC does not answer", field="spec.bmc.address", remedy="check it")
        if self._credentials.password != self._server.password:
            raise DpuError(
                Reason.UNAUTHENTICATED,
                "the BMC refuses name and password",
                field="spec.bmc.credentialsSecretRef",
                remedy=f"correct Secret {self._secret}",
            )
