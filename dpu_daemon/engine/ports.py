"""Ports of the host: a NIC, its representor, its place on the switch."""

from dataclasses import replace

import structlog

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.convergence import LOOK_S, converge
from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.engine.intent import intended_port, refuse_late, refuse_other_port
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.opi_network.intents import held_representors
from dpu_daemon.engine.port_job import PortDrivers, PortJob
from dpu_daemon.engine.port_reader import PortReader, PortView
from dpu_daemon.engine.protocols import Prober
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.assignment import NO_VF
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.fence import FenceScope, raised
from dpu_daemon.model.port import Port, PortSpec
from proto.errors import DpuError
from proto.reasons import Reason

_log = structlog.get_logger("dpu_daemon.ports")


class Ports:
    """All ports of this DPU's host.

    Args:
        ledger: what is wanted.
        operations: locks and lanes.
        drivers: switch, links and host bus.
        prober: asks machines whether they answer.
        settings: of this DPU's network.
    """

    def __init__(
        self, ledger: Ledger, operations: Operations, drivers: PortDrivers, prober: Prober, settings: NetworkSettings
    ) -> None:
        self._ledger = ledger
        self._operations = operations
        self._drivers = drivers
        self._settings = settings
        self.reader = PortReader(ledger, drivers, prober, settings.bridge if settings.ovn is not None else "")

    async def plug(self, port_id: str, generation: int, spec: PortSpec, deadline: Deadline) -> PortView:
        """Give the host a NIC whose port forwards.

        Raises:
            DpuError: ALREADY_EXISTS, STALE_GENERATION or EXHAUSTED before anything was done; the driver's error after a
                new port was undone, or an established one was left for the daemon to repair.
        """
        spec = replace(spec, bridge=spec.bridge or self._settings.bridge)
        return await self._operations.run(
            ("port", port_id),
            LaneName.PUT_UP,
            lambda: self._plug(port_id, generation, spec),
            deadline,
            what=f"port {port_id}",
        )

    async def _plug(self, port_id: str, generation: int, spec: PortSpec) -> PortView:
        fence = self._ledger.fence(FenceScope.PORT, port_id)
        refuse_late(fence, generation, f"port {port_id}")
        record = self._ledger.ports.get(port_id)
        if record is not None and not record.wanted:
            await self.finish(record)
            record = self._ledger.ports.get(port_id)
            if record is not None:
                message = f"port {port_id} is still being taken away"
                raise DpuError(
                    Reason.IN_FLIGHT, message, remedy="repeat the call when switch and host's bus answer again"
                )
        if record is None:
            await self._intend(port_id, generation, spec)
        else:
            refuse_other_port(port_id, spec, record)
            if generation != record.generation:
                newer = raised(fence, generation=generation, closed=False)
                await self._ledger.commit(Change(put=(replace(record, generation=generation),), fences=(newer,)))
        try:
            seen = (await converge(self._ledger, self._job(port_id))).seen
        except DpuError as error:
            await self._after_failure(port_id, error)
            raise
        return self.reader.view_of(await self.establish(port_id), seen)

    async def _intend(self, port_id: str, generation: int, spec: PortSpec) -> None:
        seen = await within(LOOK_S, self._drivers.bus.look_nics(), "look at the host's bus")
        foreign = {vf for vf, nic in seen.items() if not nic.port_id}
        functions = min(self._settings.vf_count, self._drivers.bus.nic_slots())
        async with self._ledger.allocation:
            others = tuple(self._ledger.ports.values())
            name = self._settings.representor
            held = {pod.vf for pod in self._ledger.pod_ports.values()}
            bridged = held_representors(self._ledger)
            held |= {vf for vf in range(functions) if name(vf) in bridged}
            record = intended_port(port_id, generation, spec, others, functions, foreign | held, representor=name)
            fence = raised(self._ledger.fence(FenceScope.PORT, port_id), generation=generation, closed=False)
            said = _said(port_id, "Plugging", f"{record.representor} gets {spec.mac} on {spec.bridge}")
            await self._ledger.commit(Change(put=(record,), fences=(fence,), events=(said,)))

    async def establish(self, port_id: str) -> Port:
        record = self._ledger.ports[port_id]
        if not record.established:
            record = replace(record, established=True)
            said = _said(port_id, "Forwarding", f"{record.representor} forwards on {record.spec.bridge}")
            await self._ledger.commit(Change(put=(record,), events=(said,)))
        return record

    async def _after_failure(self, port_id: str, error: DpuError) -> None:
        record = self._ledger.ports[port_id]
        if record.established:
            await self._quietly(Change(events=(_said(port_id, "Degraded", str(error), warning=True),)))
            return
        record = replace(record, wanted=False, force=True)
        said = _said(port_id, "PlugFailed", f"undone: {error}", warning=True)
        if await self._quietly(Change(put=(record,), events=(said,))):
            try:
                await self.finish(record)
            except DpuError as second:
                _log.warning(f"undo goes on later: {second}", id=port_id)

    async def _quietly(self, change: Change) -> bool:
        try:
            await self._ledger.commit(change)
        except DpuError as error:
            _log.error(str(error), reason=error.reason.value)
            return False
        return True

    async def unplug(self, port_id: str, generation: int, deadline: Deadline, *, force: bool) -> str:
        """Take the NIC and its port away; returns the outcome in a sentence.

        Raises:
            DpuError: the driver's error; the intent is journalled and the daemon goes on trying.
        """
        return await self._operations.run(
            ("port", port_id),
            LaneName.TAKE_AWAY,
            lambda: self._unplug(port_id, generation, force=force),
            deadline,
            what=f"port {port_id}",
        )

    async def _unplug(self, port_id: str, generation: int, *, force: bool) -> str:
        fence = self._ledger.fence(FenceScope.PORT, port_id)
        if fence.ignores(generation):
            return f"fenced by generation {fence.generation}; nothing done"
        record = self._ledger.ports.get(port_id)
        closed = raised(fence, generation=generation, closed=True)
        if record is None:
            if closed != fence:
                await self._ledger.commit(Change(fences=(closed,)))
            return f"port {port_id} was absent"
        record = replace(record, wanted=False, force=force or record.force, generation=generation)
        said = _said(port_id, "Unplugging", f"{record.representor} leaves {record.spec.bridge}")
        await self._ledger.commit(Change(put=(record,), fences=(closed,), events=(said,)))
        return await self.finish(record)

    async def finish(self, record: Port) -> str:
        seen = (await converge(self._ledger, self._job(record.port_id))).seen
        if seen.switch is None or seen.nics is None:
            silent = "host's bus" if seen.nics is None else "switch"
            return f"{record.representor} is cut off; the rest goes when the {silent} answers again"
        said = _said(record.port_id, "Unplugged", f"{record.representor} is free")
        await self._ledger.commit(Change(drop=((RecordKind.PORT, record.port_id),), events=(said,)))
        return f"{record.representor} unplugged from {record.spec.bridge}"

    def functions_used(self) -> int:
        """Virtual functions that the journal has given away."""
        return len(self._ledger.ports) + sum(pod.vf != NO_VF for pod in self._ledger.pod_ports.values())

    def _job(self, port_id: str) -> PortJob:
        return PortJob(port_id, self._ledger, self._drivers)


def _said(port_id: str, reason: str, message: str, *, warning: bool = False) -> Said:
    return Said(kind=EventKind.PORT, subject=port_id, reason=reason, message=message, warning=warning)
