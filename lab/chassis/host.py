"""The power state machine: Off -> PoweringOn -> On -> PoweringOff -> Off, told by the QEMU process being alive."""

import asyncio
import contextlib
import enum
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_fixed

from lab.chassis import process as qemu
from lab.chassis.command import Boot
from lab.chassis.config import ChassisConfig
from lab.chassis.hotplug import restore_boot_order
from lab.chassis.media import media_source
from lab.chassis.monitor import Monitor
from lab.chassis.record import BootOverride, BootTarget, OverrideEnabled, Record
from lab.chassis.taps import check_tap
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger()

ADOPT_TIMEOUT_S = 10.0
END_TIMEOUT_S = 5.0  # QMP's end of file and the process's end are an instant apart
GRACEFUL_RESTART_LIMIT_S = 300.0  # a guest that ignores the power button this long is not restarted later


class PowerState(enum.Enum):
    """Redfish's PowerState."""

    OFF = "Off"
    POWERING_ON = "PoweringOn"
    ON = "On"
    POWERING_OFF = "PoweringOff"


HostListener = Callable[[str, Mapping[str, Any]], None]


class Host:
    """Owns the QEMU process and its monitor.

    Listeners get QEMU's events by their QMP names, and ``POWER`` with ``state`` at each change to On and Off.
    """

    def __init__(self, config: ChassisConfig, record: Record) -> None:
        self._config = config
        self._record = record
        self._state = PowerState.OFF
        self._process: qemu.QemuProcess | None = None
        self._monitor: Monitor | None = None
        self._lock = asyncio.Lock()  # one power transition at a time
        self._settled = asyncio.Event()
        self._settled.set()
        self._ended = asyncio.Event()  # the process is gone and everybody was told
        self._attendant: asyncio.Task[None] | None = None
        self._restart_limit: asyncio.TimerHandle | None = None
        self._exit_reason = ""
        self.listeners: list[HostListener] = []

    @property
    def state(self) -> PowerState:
        return self._state

    @property
    def is_on(self) -> bool:
        return self._state is PowerState.ON

    @property
    def monitor(self) -> Monitor:
        """The session with the running host.

        Raises:
            DpuError: WRONG_STATE when the host is off.
        """
        if self._monitor is None or not self.is_on:
            raise DpuError(Reason.WRONG_STATE, "the host is off", remedy="power it on first")
        return self._monitor

    async def settled(self) -> None:
        """Return when no power transition is under way."""
        await self._settled.wait()

    async def ended(self) -> bool:
        """For a caller whose monitor was cut off: wait until the process's end is known; False when it lives on."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                await self._ended.wait()
        return self._ended.is_set()

    async def start(self) -> None:
        """Find what an earlier chassis left: adopt a host that answers, clean up one that does not."""
        found = qemu.find(self._config)
        if found is not None:
            await self._adopt(found)
        await self._restart_if_pending()

    async def _adopt(self, found: qemu.QemuProcess) -> None:
        try:
            monitor = await self._reconnect(found)
        except DpuError as failure:
            log.warning("a host that does not answer is ended", pid=found.pid, why=str(failure))
            found.signal(signal.SIGKILL)
            await found.wait()
            return
        log.info("host adopted", pid=found.pid)
        if self._record.state.restart_pending:
            self._limit_restart()
        self._attend(found, monitor)

    async def _reconnect(self, found: qemu.QemuProcess) -> Monitor:
        """A session with a running host, given time: what does not answer in the end is ended with all its work."""
        patience = AsyncRetrying(
            retry=retry_if_exception(lambda failure: isinstance(failure, DpuError) and found.alive),
            stop=stop_after_delay(ADOPT_TIMEOUT_S),
            wait=wait_fixed(0.2),
            reraise=True,
        )
        monitor = Monitor(self._event)
        async for attempt in patience:
            with attempt:
                monitor = Monitor(self._event)
                await monitor.connect(qemu.qmp_path(self._config), ADOPT_TIMEOUT_S)
        return monitor

    async def power_on(self) -> None:
        """Power on; nothing happens when it is on.

        Raises:
            DpuError: UNAVAILABLE, with QEMU's own words, when it does not start.
        """
        async with self._lock:
            if self._state is PowerState.OFF:
                await self._power_on()

    async def _power_on(self) -> None:
        self._set(PowerState.POWERING_ON)
        state = self._record.state
        try:
            self._record.change(booted_from=state.boot.effective, powered_on_at=time.time(), restart_pending=False)
            present = tuple(function for function in self._record.every() if not function.removing)
            for nic in (function.nic for function in present if function.nic):
                check_tap(nic, self._config.qemu.netns)
            boot = Boot(present, state.boot.effective, media_source(state.media, self._config.bmc.media_dir))
            process, monitor = await self._launch(boot, once=state.boot.enabled is OverrideEnabled.ONCE)
        except BaseException:
            self._set(PowerState.OFF)
            raise
        log.info("host powered on", pid=process.pid)
        self._attend(process, monitor)

    async def _launch(self, boot: Boot, *, once: bool) -> tuple[qemu.QemuProcess, Monitor]:
        process = qemu.spawn(self._config, boot)
        monitor = Monitor(self._event)
        try:
            await monitor.connect(qemu.qmp_path(self._config), self._config.qemu.power_on_timeout_s)
            if once:
                await restore_boot_order(monitor, boot)
                self._record.change(boot=BootOverride(), booted_from=BootTarget.NONE)
        except BaseException as failure:
            process.signal(signal.SIGKILL)
            await process.wait()
            await monitor.close()
            if not isinstance(failure, DpuError):
                raise
            said = qemu.last_words(self._config) or failure.message
            remedy = "see that the DPU serves its disks and NICs, then power on again"
            raise DpuError(Reason.UNAVAILABLE, f"the host does not start: {said}", remedy=remedy) from failure
        return process, monitor

    def _attend(self, process: qemu.QemuProcess, monitor: Monitor) -> None:
        self._process, self._monitor, self._exit_reason = process, monitor, ""
        self._ended.clear()
        self._set(PowerState.ON)
        self._attendant = asyncio.create_task(self._await_end(process, monitor))

    async def _await_end(self, process: qemu.QemuProcess, monitor: Monitor) -> None:
        await process.wait()
        await monitor.close()
        self._process = self._monitor = None
        reason = self._exit_reason or "qemu-died"
        log.info("host is off", reason=reason, qemu_said=qemu.last_words(self._config))
        self._tell("QEMU_EXIT", {"reason": reason})
        self._set(PowerState.OFF)
        self._ended.set()
        try:
            await self._restart_if_pending()
        except DpuError as failure:
            log.warning("restart failed", why=str(failure))

    async def _restart_if_pending(self) -> None:
        async with self._lock:  # a ForceOff that came first has taken the wish back
            if self._record.state.restart_pending and self._state is PowerState.OFF:
                await self._power_on()

    def _set(self, state: PowerState) -> None:
        before, self._state = self._state, state
        resting = state in {PowerState.ON, PowerState.OFF}
        (self._settled.set if resting else self._settled.clear)()
        if resting and before is not state:
            self._tell("POWER", {"state": state.value.lower()})

    def _event(self, name: str, data: Mapping[str, Any]) -> None:
        if name == "SHUTDOWN":
            self._exit_reason = str(data.get("reason", ""))
        self._tell(name, data)

    def _tell(self, name: str, data: Mapping[str, Any]) -> None:
        for listener in self.listeners:
            listener(name, data)

    async def force_off(self) -> None:
        """Cut the power; nothing happens when it is off."""
        async with self._lock:
            self._drop_restart()
            await self._force_off()

    async def _force_off(self) -> None:
        if self._process is None:
            return
        self._set(PowerState.POWERING_OFF)
        await self._process.end()
        await self._ended.wait()  # not for the attendant: it may go on to a restart, which needs our lock

    async def press_power_button(self) -> None:
        """Ask the guest to shut down; a guest without ACPI never does, so callers need a deadline."""
        self._drop_restart()
        if self._state is not PowerState.OFF:
            await self._ask_shutdown(self.monitor)

    async def _ask_shutdown(self, monitor: Monitor) -> None:
        try:
            await monitor.execute("system_powerdown")
        except DpuError as failure:
            if failure.reason is not Reason.UNAVAILABLE:  # else it has ended meanwhile, which is what was asked
                raise

    async def reset(self) -> None:
        """Reset the running host; a boot override that changed needs a new start.

        Raises:
            DpuError: WRONG_STATE when it is off.
        """
        async with self._lock:
            monitor = self.monitor
            state = self._record.state
            if state.boot.effective is state.booted_from and state.boot.enabled is not OverrideEnabled.ONCE:
                await monitor.execute("system_reset")
                return
            self._drop_restart()
            await self._force_off()
            await self._power_on()

    async def cycle(self) -> None:
        """Power off and on again.

        Raises:
            DpuError: WRONG_STATE when it is off.
        """
        async with self._lock:
            _ = self.monitor
            self._drop_restart()
            await self._force_off()
            await self._power_on()

    async def restart_gracefully(self) -> None:
        """Ask the guest to shut down, and power on when it has.

        Raises:
            DpuError: WRONG_STATE when it is off.
        """
        monitor = self.monitor
        self._record.change(restart_pending=True)
        self._limit_restart()
        try:
            await self._ask_shutdown(monitor)
        except DpuError:
            self._drop_restart()
            raise

    def _limit_restart(self) -> None:
        if self._restart_limit is not None:
            self._restart_limit.cancel()
        self._restart_limit = asyncio.get_running_loop().call_later(GRACEFUL_RESTART_LIMIT_S, self._drop_restart)

    def _drop_restart(self) -> None:
        if self._restart_limit is not None:
            self._restart_limit.cancel()
            self._restart_limit = None
        if self._record.state.restart_pending:
            self._record.change(restart_pending=False)

    async def interrupt(self) -> None:
        """Raise a non-maskable interrupt in the guest."""
        await self.monitor.execute("inject-nmi")

    async def leave(self) -> None:
        """Let go of the host without touching it: the next chassis adopts it."""
        async with self._lock:
            if self._restart_limit is not None:
                self._restart_limit.cancel()
            if self._attendant is not None:
                self._attendant.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._attendant
            if self._monitor is not None:
                await self._monitor.close()
            if self._process is not None:
                self._process.forget()
            self._process = self._monitor = None
