"""Ports of the host: a NIC, its representor, its place on the switch."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial

import structlog

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.convergence import LOOK_S, converge
from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.engine.intent import intended_port, refuse_late, refuse_other_port
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.port_job import BridgeJob, PortDrivers, PortJob, StrayPortJob
from dpu_daemon.engine.protocols import Prober
from dpu_daemon.engine.repair import Repair, RepairWork
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.fence import FenceScope, raised
from dpu_daemon.model.port import Port, PortSpec, PortState, PortWorld, ProbeResult
from dpu_daemon.model.state import port_state
from dpu_daemon.plan.ports import plan_bridge, plan_port, stray_ports
from proto.errors import DpuError
from proto.reasons import Reason

VIEW_LOOK_S = 3.0

_log = structlog.get_logger("dpu_daemon.ports")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """What ports are made of on this DPU.

    Attributes:
        bridge: the integration bridge.
        uplink: netdev towards the fabric, plugged into the bridge when it is there; empty for none.
        vf_pattern: name of a representor, with ``{n}`` for the index of its virtual function.
        vf_count: how many virtual functions this DPU has.
    """

    bridge: str
    uplink: str = ""
    vf_pattern: str = "pf0vf{n}"
    vf_count: int = 16

    def representors(self) -> frozenset[str]:
        """Every netdev that this daemon may plug as a host's port."""
        return frozenset(self.vf_pattern.format(n=n) for n in range(self.vf_count))


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """A port as a caller sees it."""

    record: Port
    state: PortState
    message: str
    pci_address: str
    ofport: int


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
        self._prober = prober
        self._settings = settings

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
            await self._finish(record)
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
            seen = await converge(self._ledger, self._job(port_id))
        except DpuError as error:
            await self._after_failure(port_id, error)
            raise
        return self._view(await self._establish(port_id), seen)

    async def _intend(self, port_id: str, generation: int, spec: PortSpec) -> None:
        seen = await within(LOOK_S, self._drivers.bus.look_nics(), "look at the host's bus")
        foreign = {vf for vf, nic in seen.items() if not nic.port_id}
        functions = min(self._settings.vf_count, self._drivers.bus.nic_slots())
        async with self._ledger.allocation:
            others = tuple(self._ledger.ports.values())
            pattern = self._settings.vf_pattern
            record = intended_port(port_id, generation, spec, others, functions, foreign, vf_pattern=pattern)
            fence = raised(self._ledger.fence(FenceScope.PORT, port_id), generation=generation, closed=False)
            said = _said(port_id, "Plugging", f"{record.representor} gets {spec.mac} on {spec.bridge}")
            await self._ledger.commit(Change(put=(record,), fences=(fence,), events=(said,)))

    async def _establish(self, port_id: str) -> Port:
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
                await self._finish(record)
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
        return await self._finish(record)

    async def _finish(self, record: Port) -> str:
        seen = await converge(self._ledger, self._job(record.port_id))
        if seen.switch is None or seen.nics is None:
            silent = "host's bus" if seen.nics is None else "switch"
            return f"{record.representor} is cut off; the rest goes when the {silent} answers again"
        said = _said(record.port_id, "Unplugged", f"{record.representor} is free")
        await self._ledger.commit(Change(drop=((RecordKind.PORT, record.port_id),), events=(said,)))
        return f"{record.representor} unplugged from {record.spec.bridge}"

    async def probe(
        self, port_id: str, address: str, probe_address: str, timeout_s: float
    ) -> AsyncIterator[ProbeResult]:
        """Ask through the switch whether an address of this port answers; one result per attempt.

        Raises:
            DpuError: NOT_FOUND; DEADLINE when nothing answered in time.
        """
        spec = self._existing(port_id).spec
        attempts = 0
        results = self._prober.probe(
            bridge=spec.bridge,
            vlan=spec.vlan,
            mac=spec.mac,
            address=address,
            probe_address=probe_address,
            timeout_s=timeout_s,
        )
        async for result in results:
            attempts = result.attempt
            yield result
            if result.answered:
                return
        message = f"{address} did not answer {attempts} attempts in {timeout_s:g} s"
        raise DpuError(Reason.DEADLINE, message, remedy="look at the machine's console, and at its addresses")

    def _existing(self, port_id: str) -> Port:
        record = self._ledger.ports.get(port_id)
        if record is None or not record.wanted:
            message = f"port {port_id} does not exist here"
            raise DpuError(Reason.NOT_FOUND, message, field="port_id", remedy="plug it first")
        return record

    async def views(self, port_id: str | None = None) -> tuple[PortView, ...]:
        """Ports as one look shows them."""
        trouble = ""
        seen: PortWorld | None = None
        try:
            seen = await within(VIEW_LOOK_S, self._drivers.look(), "look at the ports")
        except DpuError as error:
            trouble = str(error)
        records = [record for key, record in sorted(self._ledger.ports.items()) if port_id in (None, key)]
        return tuple(self._view(record, seen, trouble) for record in records)

    async def view(self, port_id: str) -> PortView:
        """One port.

        Raises:
            DpuError: NOT_FOUND.
        """
        found = await self.views(port_id)
        if not found:
            message = f"port {port_id} does not exist here"
            raise DpuError(Reason.NOT_FOUND, message, field="port_id", remedy="list the ports")
        return found[0]

    def _view(self, record: Port, seen: PortWorld | None, trouble: str = "") -> PortView:
        plan = plan_port(record, seen) if seen is not None else None
        nic = (seen.nics or {}).get(record.vf) if seen is not None else None
        port = seen.switch.ports.get(record.representor) if seen is not None and seen.switch is not None else None
        return PortView(
            record=record,
            state=port_state(record, settled=plan is not None and plan.settled),
            message=plan.why if plan is not None else trouble,
            pci_address=nic.pci_address if nic is not None and nic.port_id == record.port_id else "",
            ofport=port.ofport if port is not None and port.iface_id == record.port_id else 0,
        )

    def functions_used(self) -> int:
        """Virtual functions that the journal has given away."""
        return len(self._ledger.ports)

    async def audit(self) -> tuple[Repair, ...]:
        """The bridge, ports that are not as wanted, and ports of ours that nobody wants."""
        seen = await within(LOOK_S, self._drivers.look(), "look at the ports")
        records = tuple(self._ledger.ports.values())
        repairs: list[Repair] = []
        bridge, uplink = self._settings.bridge, self._settings.uplink
        if not (plan := plan_bridge(bridge, uplink, seen)).settled:
            work = partial(converge, self._ledger, BridgeJob(bridge, uplink, self._drivers))
            repairs.append(Repair(("bridge", bridge), EventKind.DRIVER, bridge, plan.why, work))
        repairs += [
            Repair(("port", record.port_id), EventKind.PORT, record.port_id, plan.why, self._repair(record.port_id))
            for record in records
            if not (plan := plan_port(record, seen)).settled or not record.wanted or not record.established
        ]
        return (*repairs, *self._stray_repairs(seen))

    def _stray_repairs(self, seen: PortWorld) -> tuple[Repair, ...]:
        """One repair for each port id, under that port's lock, so that none is plugged while its stray is removed."""
        representors = self._settings.representors()
        repairs: list[Repair] = []
        for stray in stray_ports(self._ledger.ports, representors, seen):
            work = partial(converge, self._ledger, StrayPortJob(stray, representors, self._ledger, self._drivers))
            repairs.append(Repair(("port", stray), EventKind.PORT, stray, f"port {stray}: in no journal", work))
        return tuple(repairs)

    def _repair(self, port_id: str) -> RepairWork:
        async def work() -> None:
            record = self._ledger.ports.get(port_id)
            if record is None:
                return
            if not record.wanted:
                await self._finish(record)
                return
            await converge(self._ledger, self._job(port_id))
            await self._establish(port_id)

        return work

    def _job(self, port_id: str) -> PortJob:
        return PortJob(port_id, self._ledger, self._drivers)


def _said(port_id: str, reason: str, message: str, *, warning: bool = False) -> Said:
    return Said(kind=EventKind.PORT, subject=port_id, reason=reason, message=message, warning=warning)
