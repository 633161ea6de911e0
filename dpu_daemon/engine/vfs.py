"""The pool of a host's virtual functions: how they fare, who has them, and what kubelet may give away.

Three sources are put together: the kernel (which functions there are), the journal (which container has which), and
kubelet (which pod it counts a function to, from its own records and from what it was just given).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.engine.vf_counts import VfCounts
from dpu_daemon.engine.vf_protocols import DeviceNotes, PodDevices, VfDriver
from dpu_daemon.model.assignment import Holder, Sandbox
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.vf import VfDevice, VfSeen
from dpu_daemon.plan.vfs import choose_vf, countable, held, judge, prefer
from proto.errors import DpuError
from proto.reasons import Reason

LOOK_S = 5.0
"""Between two looks without an alarm; a look reads some files of sysfs for each function."""
REST_S = 1.0
"""Between two looks with alarms: the kernel tells of every container's link, too."""
SETTLE_S = 0.05
"""After an alarm: what it belongs to, such as a journal row, is mostly written by then."""

_log = structlog.get_logger("dpu_daemon.vfs")


@dataclass(frozen=True, slots=True)
class VfSources:
    """What tells of functions.

    Attributes:
        driver: the kernel.
        records: kubelet's; None where they cannot be asked.
        notes: files of what kubelet gave; None for none.
    """

    driver: VfDriver
    records: PodDevices | None = None
    notes: DeviceNotes | None = None


class VfPool:
    """All functions of this host; a VfGiver, and a Driver of the core.

    Args:
        ledger: its sandboxes tell who has which function.
        sources: kernel and kubelet.
        clock: seconds that only rise.
        look_s: between two looks without an alarm.
    """

    def __init__(
        self,
        ledger: Ledger,
        sources: VfSources,
        clock: Callable[[], float],
        look_s: float = LOOK_S,
    ) -> None:
        self._ledger, self._driver, self._clock, self._look_s = ledger, sources.driver, clock, look_s
        self.counts = VfCounts(sources.records, sources.notes, clock)
        self._seen: dict[int, VfSeen] = {}
        """Every function ever seen; one that is gone stays, with a fault, so that kubelet does not recount."""
        self._boxes_then: tuple[Sandbox, ...] = ()
        """Sandboxes at the last look: what one of them had is not missing because its row is gone by now."""
        self._asked = self._answered = 0
        self._looking = asyncio.Lock()
        self._told: tuple[VfDevice, ...] | None = None
        self._faults = ""
        self._news = asyncio.Condition()
        self._alarm = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def start(self, lost: Lost) -> None:
        """Watch from now on."""
        self.counts.recall()
        await self._driver.start(lambda sentence: self._alarmed(lost, sentence))
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name="watch functions")

    async def stop(self) -> None:
        """Stop watching; functions stay with those who have them."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await self.counts.close()
        await self._driver.stop()

    def version(self) -> str:
        return self._driver.version()

    async def look(self) -> Mapping[int, VfSeen]:
        """Functions by index with their faults; raises nothing for a physical function that is gone: that is one."""
        self._asked += 1
        mine = self._asked
        async with self._looking:
            if self._answered < mine:
                covers = self._asked
                await self._look()
                self._answered = covers
        return self._judged()

    async def _look(self) -> None:
        """One look serves all who asked before it began."""
        await self.counts.settle()
        try:
            fresh = await self._driver.look()
        except DpuError as error:
            self._seen = {vf: replace(function, fault=error.message) for vf, function in self._seen.items()}
        else:
            self._boxes_then = self._boxes()
            self._seen = {vf: _gone(function) for vf, function in self._seen.items() if vf not in fresh} | dict(fresh)

    def choose(self, asked: str, holder: Holder) -> VfSeen:
        """The function for a container, of those last looked at; see `plan.vfs.choose_vf`.

        To be called with `ledger.allocation` held, until its Sandbox is journalled.
        """
        chosen = choose_vf(asked, self._judged(), self._boxes(), holder)
        self._alarm.set()
        return chosen

    async def set_mac(self, vf: int, mac: str) -> None:
        """As the driver's."""
        await self._driver.set_mac(vf, mac)

    def _judged(self) -> dict[int, VfSeen]:
        judged = judge(self._seen, self._boxes())
        counted = self.counts.counted()
        return {vf: replace(each, counted=True) if each.device_id in counted else each for vf, each in judged.items()}

    def _boxes(self) -> tuple[Sandbox, ...]:
        """At one instant: metrics are read by another thread."""
        return tuple(self._ledger.sandboxes.values())

    def devices(self) -> tuple[VfDevice, ...]:
        """As kubelet is to count them, by what was last looked at."""
        boxes = self._boxes()
        return countable(judge(self._seen, (*self._boxes_then, *boxes)), boxes)

    async def known(self) -> None:
        """Return once they were looked at."""
        async with self._news:
            await self._news.wait_for(lambda: self._told is not None)

    async def lists(self) -> AsyncIterator[tuple[VfDevice, ...]]:
        """All devices, once they are known, and again after each change; without end."""
        told: tuple[VfDevice, ...] | None = None
        while True:
            async with self._news:
                await self._news.wait_for(lambda told=told: self._told is not None and self._told != told)  # type: ignore[misc]
                told = self._told
            if told is not None:
                yield told

    def prefer(self, available: Sequence[str], must: Sequence[str], size: int) -> tuple[str, ...]:
        """See `plan.vfs.prefer`; of equal ones, those that a container still has go last, as its end takes a while."""
        leaving = {self._seen[vf].device_id for vf in held(self._boxes()) if vf in self._seen}
        devices = sorted(self.devices(), key=lambda device: device.device_id in leaving)
        return prefer(devices, available, must, size)

    async def give(self, device_ids: Sequence[str]) -> tuple[VfSeen, ...]:
        """Note that kubelet gives these to a pod; from now on nobody gets one of them without naming it.

        One that a container still has is given all the same: kubelet counts a pod that ended as gone before its
        network is, and a refusal would end the new pod for good. Its ADD waits for the old one's DEL.

        Raises:
            DpuError: NOT_FOUND, INVALID for one named twice, UNAVAILABLE for one with a fault; none is given then.
        """
        await self.look()
        async with self._ledger.allocation:  # what was chosen for a container stands in the journal then
            return self._give(device_ids)

    def _give(self, device_ids: Sequence[str]) -> tuple[VfSeen, ...]:
        devices = {device.device_id: device for device in self.devices()}
        if len(set(device_ids)) < len(device_ids):
            raise _refused(Reason.INVALID, f"a device is named twice: {', '.join(device_ids)}")
        for each in device_ids:
            if each not in devices:
                raise _refused(Reason.NOT_FOUND, f"this host has no function {each}")
            if devices[each].fault:
                raise _refused(Reason.UNAVAILABLE, devices[each].fault)
        functions = {function.device_id: function for function in self._seen.values()}
        given = tuple(functions[each] for each in device_ids)
        self.counts.promise(given)
        return given

    def census(self) -> dict[str, int]:
        """How many functions there are in each state."""
        holders = held(self._boxes())
        states = dict.fromkeys(("held", "fault", "counted", "free"), 0)
        for vf, function in self._judged().items():
            at_fault, counted = "fault" if function.fault else "", "counted" if function.counted else ""
            states["held" if vf in holders else at_fault or counted or "free"] += 1
        return states

    async def refresh(self) -> None:
        """Look, and tell of what changed."""
        await self.look()
        holders = held(self._boxes())
        await self.counts.refresh(
            {self._seen[vf].device_id: box.pod for vf, box in holders.items() if vf in self._seen}
        )
        devices = self.devices()
        await self._tell_faults([device for device in devices if device.fault], len(devices))
        if devices != self._told:
            async with self._news:
                self._told = devices
                self._news.notify_all()

    async def _tell_faults(self, faulty: list[VfDevice], total: int) -> None:
        now = f"{len(faulty)} of {total} functions cannot be given; first: {faulty[0].fault}" if faulty else ""
        if now == self._faults:
            return
        self._faults = now
        reason, message = ("FunctionsAtFault", now) if now else ("FunctionsWell", f"all {total} functions can be given")
        said = Said(kind=EventKind.DRIVER, subject="vfs", reason=reason, message=message, warning=bool(now))
        await self._ledger.commit(Change(events=(said,)))

    async def _watch(self) -> None:
        while True:
            self._alarm.clear()
            began = self._clock()
            try:
                await self.refresh()
            except DpuError as error:
                _log.warning(f"functions cannot be told of: {error}")
            await asyncio.sleep(max(0.0, began + min(REST_S, self._look_s) - self._clock()))
            await self._rest(began + self._look_s - self._clock())

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._alarm.wait(), max(0.0, seconds))
        except TimeoutError:
            return
        await asyncio.sleep(SETTLE_S)

    def _alarmed(self, lost: Lost, sentence: str) -> None:
        self._alarm.set()
        if sentence:
            lost(sentence)


def _gone(function: VfSeen) -> VfSeen:
    fault = f"function {function.device_id} is gone"
    return replace(function, netdev="", driver="", iommu_group=-1, fault=fault)


def _refused(reason: Reason, message: str) -> DpuError:
    return DpuError(reason, message, field="devices_ids", remedy="see the functions of this host and their faults")
