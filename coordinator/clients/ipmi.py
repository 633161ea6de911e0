"""A management controller by IPMI over LAN, through pyghmi in a thread."""

import asyncio
import struct
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pyghmi.exceptions import IpmiException
from pyghmi.ipmi.command import Command

from coordinator.clients.model import BmcEndpoint, BmcIdentity, PowerAction
from coordinator.core.objects.fleet import PowerState
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")

CALL_S = 40.0
PORT = 623

STATES = {"on": PowerState.ON, "off": PowerState.OFF}
ACTIONS = {PowerAction.ON: "on", PowerAction.SHUT_DOWN: "shutdown", PowerAction.FORCE_OFF: "off"}


class IpmiBmc:
    """`coordinator.clients.protocols.Bmc`.

    Args:
        thread: one thread for all controllers: pyghmi shares its sockets between sessions.
    """

    def __init__(self, endpoint: BmcEndpoint, thread: Executor) -> None:
        self._endpoint = endpoint
        self._thread = thread
        self._command: Any = None

    async def power(self) -> PowerState:
        answer = await self._ask(lambda command: command.get_power())
        return STATES.get(answer.get("powerstate", ""), PowerState.UNKNOWN)

    async def act(self, action: PowerAction) -> None:
        await self._ask(lambda command: command.set_power(ACTIONS[action], wait=False))

    async def boot_from_disk(self) -> None:
        await self._ask(lambda command: command.set_bootdev("hd", persist=True))

    async def identity(self) -> BmcIdentity:
        """IPMI's inventory is slow and often wrong: the vendor stays unknown."""
        return BmcIdentity(vendor="IPMI")

    async def close(self) -> None:
        """End the session at the controller."""
        command, self._command = self._command, None
        if command is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, command.ipmi_session.logout)

    async def _ask(self, question: Callable[[Any], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CALL_S):
                return await loop.run_in_executor(self._thread, self._in_thread, question)
        except (IpmiException, OSError, struct.error) as error:
            self._command = None
            raise self._told(str(error)) from error
        except TimeoutError as error:
            self._command = None
            raise self._told(f"no answer in {CALL_S:.0f} s") from error

    def _in_thread(self, question: Callable[[Any], T]) -> T:
        if self._command is None:
            parts = urlsplit(self._endpoint.address)
            self._command = Command(
                bmc=parts.hostname,
                userid=self._endpoint.credentials.username,
                password=self._endpoint.credentials.password,
                port=parts.port or PORT,
                keepalive=False,
            )
        return question(self._command)

    def _told(self, cause: str) -> DpuError:
        refused = any(word in cause.lower() for word in ("password", "username", "unauthorized", "privilege"))
        if refused:
            return DpuError(
                Reason.UNAUTHENTICATED,
                f"BMC {self._endpoint.address} refuses user {self._endpoint.credentials.username}: {cause}",
                field="spec.bmc.credentialsSecretRef",
                remedy=f"correct username and password in Secret {self._endpoint.secret}",
            )
        return DpuError(
            Reason.UNAVAILABLE,
            f"BMC {self._endpoint.address} does not answer: {cause}",
            field="spec.bmc.address",
            remedy="see that IPMI over LAN is on and UDP is not filtered",
        )
