"""What callers see of ports: one look, told together with what the journal knows; and whether machines answer."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from dpu_daemon.engine.deadline import within
from dpu_daemon.engine.disk_reader import VIEW_LOOK_S
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.port_job import PortDrivers
from dpu_daemon.engine.protocols import Prober
from dpu_daemon.model.port import Port, PortState, PortWorld, ProbeResult
from dpu_daemon.model.state import port_state
from dpu_daemon.plan.ports import plan_port
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """A port as a caller sees it."""

    record: Port
    state: PortState
    message: str
    pci_address: str
    ofport: int


class PortReader:
    """Answers questions about ports; changes nothing.

    Args:
        ledger: what is wanted.
        drivers: where to look.
        prober: asks machines whether they answer.
        ruled: bridge that ovn-controller rules, where a port of ours would be heard by nobody; empty for none.
    """

    def __init__(self, ledger: Ledger, drivers: PortDrivers, prober: Prober, ruled: str = "") -> None:
        self._ruled = ruled
        self._ledger = ledger
        self._drivers = drivers
        self._prober = prober

    async def probe(
        self, port_id: str, address: str, probe_address: str, timeout_s: float
    ) -> AsyncIterator[ProbeResult]:
        """Ask through the switch whether an address of this port answers; one result per attempt.

        On a bridge that OVN rules the machine is asked at its representor: that it answers, not that flows let it be
        reached, which its logical port says.

        Raises:
            DpuError: NOT_FOUND; DEADLINE when nothing answered in time.
        """
        record = self._existing(port_id)
        spec = record.spec
        attempts = 0
        results = self._prober.probe(
            bridge=spec.bridge,
            vlan=spec.vlan,
            mac=spec.mac,
            address=address,
            probe_address=probe_address,
            timeout_s=timeout_s,
            at=record.representor if spec.bridge == self._ruled else "",
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
        return tuple(self.view_of(record, seen, trouble) for record in records)

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

    def view_of(self, record: Port, seen: PortWorld | None, trouble: str = "") -> PortView:
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
