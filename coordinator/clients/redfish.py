"""A management controller by Redfish, through sushy in threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
import sushy
from sushy import exceptions

from coordinator.clients.model import BmcEndpoint, BmcIdentity, PowerAction
from coordinator.core.objects.fleet import PowerState
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

T = TypeVar("T")

CONNECT_S = 5
READ_S = 20
CALL_S = 45.0
"""For one question with all requests that sushy makes of it; slow controllers take seconds for each."""

CAUSE_LETTERS = 120

STATES = {sushy.POWER_STATE_ON: PowerState.ON, sushy.POWER_STATE_OFF: PowerState.OFF}
ACTIONS = {
    PowerAction.ON: sushy.RESET_ON,
    PowerAction.SHUT_DOWN: sushy.RESET_GRACEFUL_SHUTDOWN,
    PowerAction.FORCE_OFF: sushy.RESET_FORCE_OFF,
}


class RedfishBmc:
    """`coordinator.clients.protocols.Bmc`. One question at a time: a controller is a small computer.

    Args:
        ca_file: PEM file that verifies the controller; None for the system's authorities.
        threads: where sushy, which blocks, runs.
    """

    def __init__(self, endpoint: BmcEndpoint, ca_file: Path | None, threads: Executor) -> None:
        self._endpoint = endpoint
        self._ca_file = ca_file
        self._threads = threads
        self._turn = asyncio.Lock()
        self._root: Any = None
        self._system: Any = None

    async def power(self) -> PowerState:
        return STATES.get(await self._ask(lambda system: system.power_state), PowerState.UNKNOWN)

    async def act(self, action: PowerAction) -> None:
        await self._ask(lambda system: system.reset_system(ACTIONS[action]))

    async def boot_from_disk(self) -> None:
        await self._ask(_boot_from_disk)

    async def identity(self) -> BmcIdentity:
        return await self._ask(
            lambda system: BmcIdentity(vendor=system.manufacturer or "", system_uuid=system.uuid or "")
        )

    async def close(self) -> None:
        """End the session at the controller."""
        root, self._root, self._system = self._root, None, None
        if root is not None:
            await asyncio.get_running_loop().run_in_executor(self._threads, _log_out, root)

    async def _ask(self, question: Callable[[Any], T]) -> T:
        """The answer to a question that is asked of the system, freshly read."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CALL_S), self._turn:
                return await loop.run_in_executor(self._threads, self._in_thread, question)
        except exceptions.SushyError as error:
            self._root = self._system = None
            raise self._told(error) from error
        except TimeoutError as error:
            raise self._silent(f"no answer in {CALL_S:.0f} s") from error

    def _in_thread(self, question: Callable[[Any], T]) -> T:
        if self._system is None:
            parts = urlsplit(self._endpoint.address)
            scheme = "http" if parts.scheme == "redfish+http" else "https"
            verify: bool | str = str(self._ca_file) if self._ca_file else True
            self._root = sushy.Sushy(
                f"{scheme}://{parts.netloc}",
                username=self._endpoint.credentials.username,
                password=self._endpoint.credentials.password,
                verify=verify if self._endpoint.verify else False,
                server_side_retries=1,
                server_side_retries_delay=1,
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
            )
            self._system = self._root.get_system(parts.path or None)
        else:
            self._system.refresh(force=True)
        return question(self._system)

    def _told(self, error: exceptions.SushyError) -> DpuError:
        address = self._endpoint.address
        if isinstance(error, exceptions.AccessError):
            return DpuError(
                Reason.UNAUTHENTICATED,
                f"BMC {address} refuses user {self._endpoint.credentials.username}",
                field="spec.bmc.credentialsSecretRef",
                remedy=f"correct username and password in Secret {self._endpoint.secret}",
            )
        if isinstance(error, exceptions.ResourceNotFoundError):
            return DpuError(
                Reason.NOT_FOUND,
                f"BMC {address} has no such system",
                field="spec.bmc.address",
                remedy="correct the path; GET /redfish/v1/Systems lists the systems",
            )
        if isinstance(error, exceptions.ConnectionError):
            return self._silent(_cause(error))
        return DpuError(
            Reason.UNAVAILABLE, f"BMC {address}: {error}", field="spec.bmc.address", remedy="look at the BMC's log"
        )

    def _silent(self, cause: str) -> DpuError:
        certificate = "CERTIFICATE_VERIFY_FAILED" in cause
        return DpuError(
            Reason.UNAVAILABLE,
            f"BMC {self._endpoint.address} does not answer: {cause}",
            field="spec.bmc.caSecretRef" if certificate else "spec.bmc.address",
            remedy="give the authority that signed its certificate"
            if certificate
            else "see that it is on, and that its address and port are right and reachable from the coordinator",
        )


def _cause(error: BaseException) -> str:
    """What the system said, below all that the HTTP libraries wrap around it; short enough for a condition."""
    innermost, seen = error, {id(error)}
    while (below := innermost.__cause__ or innermost.__context__) is not None and id(below) not in seen:
        seen.add(id(below))
        innermost = below
    if isinstance(innermost, TimeoutError):
        return f"no answer in {CONNECT_S} s"
    told = innermost.strerror if isinstance(innermost, OSError) else None
    return (told or str(innermost) or type(innermost).__name__)[:CAUSE_LETTERS]


def _boot_from_disk(system: Any) -> None:
    """Set the first boot device, where that can be set."""
    try:
        offered = system.get_allowed_system_boot_source_values()
        if sushy.BOOT_SOURCE_TARGET_HDD in offered:
            system.set_system_boot_options(
                target=sushy.BOOT_SOURCE_TARGET_HDD, enabled=sushy.BOOT_SOURCE_ENABLED_CONTINUOUS
            )
    except (
        exceptions.MissingAttributeError,
        exceptions.BadRequestError,
        exceptions.InvalidParameterValueError,
    ) as error:
        log.info("boot device not set, the firmware's order counts", error=str(error))


def _log_out(root: Any) -> None:
    """End sushy's session now, in this thread: its finalizer would do it wherever garbage is collected."""
    auth, root._auth = root._auth, None  # noqa: SLF001  (sushy offers no way to close)
    if auth is not None:
        try:
            auth.close()
        except exceptions.SushyError as error:
            log.info("BMC session not ended", error=str(error))
