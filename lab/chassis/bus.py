"""The PCIe bus of the host: intent is recorded first, then QEMU is brought to it, with the host on or off."""

import asyncio
import enum
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import structlog

from lab.chassis import hotplug
from lab.chassis.config import ChassisConfig
from lab.chassis.host import Host
from lab.chassis.monitor import Monitor
from lab.chassis.record import Record
from lab.chassis.slots import (
    DiskProtocol,
    DiskSpec,
    Function,
    FunctionSpec,
    FunctionState,
    Kind,
    NicSpec,
    backend_name,
    backend_of,
    check_disk,
    check_nic,
    device_name,
)
from lab.chassis.taps import check_tap
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger()

NAMES_OF_FUNCTIONS = tuple(kind.value for kind in Kind)

T = TypeVar("T")
EventSink = Callable[[str, Mapping[str, Any]], None]


class UnplugOutcome(enum.Enum):
    """How an unplug ended.

    REMOVED: the host has let go, nothing is open any more. ABSENT: there was nothing of this function.
    DETACHED: by force; the back end is cut and free, the slot stays taken until the guest or a reset lets go.
    """

    REMOVED = "removed"
    ABSENT = "absent"
    DETACHED = "detached"


@dataclass(frozen=True)
class Presence:
    """One function as it is now."""

    function: Function
    state: FunctionState
    pci_address: str = ""
    size_bytes: int | None = None  # of a disk in a running host

    @property
    def present(self) -> bool:
        """The running host has it, or the host is off and will have it."""
        return self.state in {FunctionState.PRESENT, FunctionState.CONFIGURED}


def presence(function: Function, seen: hotplug.Sight) -> Presence:
    """How far a function is in the running host."""
    spec = function.plugged
    address, size = seen.devices.get(device_name(spec)), seen.nodes.get(backend_name(spec))
    if function.removing:
        return Presence(function, FunctionState.REMOVING, address or "", size)
    state = FunctionState.PLUGGING if address is None else FunctionState.PRESENT
    return Presence(function, state, address or "", size)


class Bus:
    """Plugs and unplugs functions.

    Args:
        tell: gets the events of the link: kind and details.
    """

    def __init__(self, config: ChassisConfig, record: Record, host: Host, tell: EventSink) -> None:
        self._config = config
        self._record = record
        self._host = host
        self._tell = tell
        self._locks: defaultdict[tuple[Kind, int], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._let_go: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._work: set[asyncio.Task[None]] = set()
        host.listeners.append(self._hear)

    # --- what the DPU asks -------------------------------------------------------------------------------

    async def plug(self, spec: FunctionSpec) -> Presence:
        """Put a function into its slot; the same again changes nothing.

        Raises:
            DpuError: INVALID, IN_USE for a slot or a function id that is taken, UNAVAILABLE when QEMU refuses.
        """
        if isinstance(spec, DiskSpec):
            check_disk(spec, self._config.qemu.disk_slots)
        else:
            check_nic(spec, self._config.qemu.nic_slots)
        async with self._locks[spec.kind, spec.slot]:
            await self._host.settled()
            known = self._claim(spec)
            if not self._host.is_on:
                return Presence(Function.of(spec), FunctionState.CONFIGURED)
            try:
                address = await self._bring_in(self._host.monitor, spec)
            except DpuError:
                if not known:
                    self._record.drop(spec)
                raise
            return Presence(Function.of(spec), FunctionState.PRESENT, address)

    def _claim(self, spec: FunctionSpec) -> bool:
        """Record the intent; True when it already was recorded."""
        held = self._record.functions(spec.kind).get(spec.slot)
        if held is not None:
            if held.plugged == spec and not held.removing:
                return True
            what = "is still being removed from" if held.removing else "is in"
            message = f"function {held.plugged.function_id} {what} {spec.kind.value} slot {spec.slot}"
            raise DpuError(Reason.IN_USE, message, field="slot", remedy="unplug it first, or take another slot")
        for other in self._record.functions(spec.kind).values():
            if other.plugged.function_id == spec.function_id:
                message = f"function {spec.function_id} is in {spec.kind.value} slot {other.plugged.slot}"
                raise DpuError(Reason.IN_USE, message, field="function_id", remedy="unplug it there first")
        self._record.put(Function.of(spec))
        return False

    async def _bring_in(self, monitor: Monitor, spec: FunctionSpec) -> str:
        if isinstance(spec, NicSpec):
            check_tap(spec, self._config.qemu.netns)
        address = await hotplug.insert(monitor, spec)
        held = self._record.holder(spec.kind, spec.slot, spec.function_id)
        if held is None or held.link_up:
            return address
        await monitor.execute("set_link", {"name": device_name(spec), "up": False})
        return address

    async def unplug(self, kind: Kind, slot: int, function_id: str, timeout_s: float, *, force: bool) -> UnplugOutcome:
        """Take a function out of its slot; another function in that slot is left alone.

        Raises:
            DpuError: DEADLINE when the guest does not let go in time and force is not given.
        """
        waiter = await self._outlive(lambda: self._begin_unplug(kind, slot, function_id))
        if isinstance(waiter, UnplugOutcome):
            return waiter
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.wait()
        except TimeoutError:
            return await self._end_unplug(kind, slot, function_id, force=force)
        return UnplugOutcome.REMOVED

    async def _outlive(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run a call; once more when the host went off under it, for what was asked may be true by now."""
        try:
            return await call()
        except DpuError as failure:
            if failure.reason is not Reason.UNAVAILABLE or not await self._host.ended():
                raise
        return await call()

    async def _begin_unplug(self, kind: Kind, slot: int, function_id: str) -> UnplugOutcome | asyncio.Event:
        async with self._locks[kind, slot]:
            await self._host.settled()
            held = self._record.holder(kind, slot, function_id)
            if held is None:
                return UnplugOutcome.ABSENT
            spec = held.plugged
            if not self._host.is_on:
                self._record.drop(spec)
                return UnplugOutcome.REMOVED
            if not held.removing:
                self._record.put(msgspec.structs.replace(held, removing=True))
            monitor, name = self._host.monitor, device_name(spec)
            waiter = self._let_go[name]
            if name in (await hotplug.look(monitor)).devices:
                await hotplug.ask_removal(monitor, name)
                return waiter
            await self._finish(spec, name)
            return UnplugOutcome.REMOVED

    async def _end_unplug(self, kind: Kind, slot: int, function_id: str, *, force: bool) -> UnplugOutcome:
        async with self._locks[kind, slot]:
            held = self._record.holder(kind, slot, function_id)
            if held is None:
                return UnplugOutcome.REMOVED
            if not force:
                message = f"the guest does not let go of {kind.value} slot {slot}"
                remedy = "power the host off, or force; without a running operating system it never lets go"
                raise DpuError(Reason.DEADLINE, message, remedy=remedy)
            self._record.put(msgspec.structs.replace(held, backend_cut=True))
            await hotplug.cut_backend(self._host.monitor, held.plugged)
            return UnplugOutcome.DETACHED

    async def resize(self, slot: int, size_bytes: int) -> int:
        """Let the running guest see a disk's new size; returns the size.

        Raises:
            DpuError: NOT_FOUND, UNSUPPORTED for NVMe, UNAVAILABLE when the DPU does not serve the size yet.
        """
        async with self._locks[Kind.DISK, slot]:
            await self._host.settled()
            held = self._record.state.disks.get(slot)
            if held is None or held.disk is None or held.removing:
                raise DpuError(Reason.NOT_FOUND, f"there is no disk in slot {slot}", field="slot", remedy="plug it")
            if not self._host.is_on:
                return size_bytes  # read from the export at the next power-on
            if held.disk.protocol is DiskProtocol.NVME:
                remedy = "power-cycle the host, or use virtio-blk"
                raise DpuError(Reason.UNSUPPORTED, "QEMU's NVMe disks cannot grow under a running host", remedy=remedy)
            return await hotplug.grow(self._host.monitor, held.disk, size_bytes)

    async def set_link(self, slot: int, *, up: bool) -> None:
        """Set a NIC's carrier, now and at later power-ons.

        Raises:
            DpuError: NOT_FOUND when the slot is empty.
        """
        async with self._locks[Kind.NIC, slot]:
            await self._host.settled()
            held = self._record.state.nics.get(slot)
            if held is None or held.removing:
                raise DpuError(Reason.NOT_FOUND, f"there is no NIC in slot {slot}", field="slot", remedy="plug it")
            self._record.put(msgspec.structs.replace(held, link_up=up))
            if self._host.is_on:
                await self._host.monitor.execute("set_link", {"name": device_name(held.plugged), "up": up})

    async def presences(self) -> list[Presence]:
        """Every occupied slot as it is now, disks first."""
        return await self._outlive(self._look)

    async def _look(self) -> list[Presence]:
        await self._host.settled()
        if not self._host.is_on:
            return [Presence(function, FunctionState.CONFIGURED) for function in self._record.every()]
        seen = await hotplug.look(self._host.monitor)
        return [presence(function, seen) for function in self._record.every()]

    # --- what the host tells -----------------------------------------------------------------------------

    def _hear(self, name: str, data: Mapping[str, Any]) -> None:
        if name == "DEVICE_DELETED" and str(data.get("device", "")).startswith(NAMES_OF_FUNCTIONS):
            self._start(self._deleted(data["device"]))
        elif name == "RESET":
            self._tell("reset", {"guest": bool(data.get("guest"))})
        elif name == "QEMU_EXIT":
            self._tell("qemu_exit", data)
        elif name == "POWER":
            self._tell("power", data)
            if data["state"] == "on":
                self._start(self._converge())
            else:
                self._forget_removed()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _forget_removed(self) -> None:
        """With the host off nothing holds a function that was to be removed."""
        for function in self._record.every():
            if function.removing:
                self._gone(function.plugged)

    def _gone(self, spec: FunctionSpec) -> None:
        self._record.drop(spec)
        self._tell("device_deleted", {"function": spec.kind.value, "slot": spec.slot, "function_id": spec.function_id})
        self._let_go.pop(device_name(spec), asyncio.Event()).set()

    async def _deleted(self, name: str) -> None:
        for function in self._record.every():
            spec = function.plugged
            if device_name(spec) == name:
                async with self._locks[spec.kind, spec.slot]:
                    await self._finish_quietly(spec, name)
                return
        await self._finish_quietly(None, name)

    async def _finish_quietly(self, spec: FunctionSpec | None, name: str) -> None:
        try:
            await self._finish(spec, name)
        except DpuError as failure:
            self._warn("the back end of a removed function stays", failure, device=name)

    async def _finish(self, spec: FunctionSpec | None, name: str) -> None:
        """The device is gone: remove its back end, then the record."""
        if self._host.is_on:
            kind = Kind.DISK if name.startswith(Kind.DISK.value) else Kind.NIC
            await hotplug.remove_named_backend(self._host.monitor, kind, backend_of(name))
        if spec is not None:
            self._gone(spec)

    async def _converge(self) -> None:
        """Bring a host that was just started or found to the record: add what is missing, remove what is foreign."""
        for function in self._record.every():
            spec = function.plugged
            try:
                async with self._locks[spec.kind, spec.slot]:
                    await self._settle(spec)
            except DpuError as failure:
                self._warn("slot not converged; the DPU will ask again", failure, slot=spec.slot)
        try:
            await self._remove_strangers()
        except DpuError as failure:
            self._warn("foreign functions stay", failure)

    def _warn(self, what: str, failure: DpuError, **where: object) -> None:
        if self._host.is_on:  # a host that was switched off meanwhile is no fault
            log.warning(what, why=str(failure), **where)

    async def _settle(self, spec: FunctionSpec) -> None:
        held = self._record.holder(spec.kind, spec.slot, spec.function_id)
        if held is None or not self._host.is_on:
            return
        monitor, name = self._host.monitor, device_name(spec)
        if not held.removing:
            await self._bring_in(monitor, spec)
        elif name in (await hotplug.look(monitor)).devices:
            await hotplug.ask_removal(monitor, name)
        else:
            await self._finish(spec, name)

    async def _remove_strangers(self) -> None:
        """Devices that nobody recorded, and block nodes without a device: they would keep the DPU's exports busy."""
        monitor = self._host.monitor
        ours = {device_name(function.plugged) for function in self._record.every()}
        seen = await hotplug.look(monitor)
        for name in seen.devices:
            if name.startswith(NAMES_OF_FUNCTIONS) and name not in ours:
                await hotplug.ask_removal(monitor, name)
        expected = {backend_of(name) for name in ours | set(seen.devices)}
        for node in seen.nodes:
            if node.startswith(backend_of(Kind.DISK.value)) and node not in expected:
                await hotplug.remove_named_backend(monitor, Kind.DISK, node)

    async def close(self) -> None:
        """End work in the background."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
