"""Intents of OPI network objects: what a client asks for is compared with all that is there, completed, journalled."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.opi.lifecycle import said
from dpu_daemon.model.identity import HandleKind, handle_for
from dpu_daemon.model.opi_network import BridgePort, NetKind, NetObject, NetSpec
from dpu_daemon.model.opi_network_seen import NetSeen
from dpu_daemon.plan.opi_network_choice import refuse_other_net_spec, representor_for, updated_net
from dpu_daemon.plan.opi_network_conflicts import refuse_net_conflicts
from dpu_daemon.plan.opi_network_wanted import Fabric, NetWanted, net_referrers
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedNet:
    """An object as asked for."""

    name: str
    kind: NetKind
    spec: NetSpec


class NetIntents:
    """Writes intents. Each is checked and journalled under the ledger's allocation lock.

    Args:
        ledger: what is wanted.
        fabric: what is this DPU's own.
        network: its representors.
        look: takes a look; where functions are is not known without one.
    """

    def __init__(
        self, ledger: Ledger, fabric: Fabric, network: NetworkSettings, look: Callable[[], Awaitable[NetSeen]]
    ) -> None:
        self._ledger = ledger
        self._fabric = fabric
        self._network = network
        self._look = look

    async def intend(self, asked: AskedNet) -> NetObject:
        """Journal a new object with everything chosen.

        Raises:
            DpuError: NOT_FOUND, WRONG_STATE, IN_USE, ALREADY_EXISTS or INVALID; nothing is journalled.
        """
        ledger, spec = self._ledger, asked.spec
        if isinstance(spec, BridgePort):
            found = representor_for(asked.name, spec, self._network.representors(), await self._look())
            spec = replace(spec, netdev=found)
        async with ledger.allocation:
            handle = handle_for(
                HandleKind.OPI_NETWORK, asked.name, {other.handle for other in ledger.opi_network.values()}
            )
            thing = NetObject(name=asked.name, kind=asked.kind, handle=handle, generation=1, spec=spec)
            refuse_net_conflicts(thing, self._wanted(), self._taken())
            await ledger.commit(Change(put=(thing,), events=(said(thing, "Creating", "is being made"),)))
        return thing

    def refuse_other(self, record: NetObject, asked: AskedNet) -> None:
        """Raise ALREADY_EXISTS when the same name was given another spec."""
        refuse_other_net_spec(record, asked.spec)

    async def follow(self, asked: AskedNet) -> NetObject:
        """Journal an update; returns the record as it was.

        Raises:
            DpuError: INVALID naming the field that is fixed, or a conflict; nothing is journalled.
        """
        ledger = self._ledger
        async with ledger.allocation:
            record = ledger.opi_network[asked.name]
            spec = updated_net(record, asked.spec)
            if spec != record.spec:
                newer = replace(record, spec=spec, generation=record.generation + 1)
                refuse_net_conflicts(newer, self._wanted(), self._taken())
                await ledger.commit(Change(put=(newer,), events=(said(newer, "Updating", "is being changed"),)))
        return record

    def refuse_again(self, record: NetObject) -> None:
        """Raise where an object cannot be as it was before."""
        refuse_net_conflicts(record, self._wanted(), self._taken())

    async def renounce(self, name: str) -> NetObject | None:
        """Journal that an object is wanted no more; None when it is not there.

        Raises:
            DpuError: IN_USE naming who needs it.
        """
        ledger = self._ledger
        async with ledger.allocation:
            record = ledger.opi_network.get(name)
            if record is None or not record.wanted:
                return record
            holders = sorted(other.name for other in net_referrers(record, ledger.opi_network))
            if holders:
                more = f" and {len(holders) - 3} more" if len(holders) > 3 else ""
                message = f"{name} is needed by {', '.join(holders[:3])}{more}"
                raise DpuError(Reason.IN_USE, message, field="name", remedy="delete them first")
            record = replace(record, wanted=False)
            await ledger.commit(Change(put=(record,), events=(said(record, "Deleting", "is being taken away"),)))
        return record

    def _wanted(self) -> NetWanted:
        return NetWanted(self._ledger.opi_network, self._fabric)

    def _taken(self) -> Mapping[str, str]:
        """Representors of bare-metal machines and of pods, and the uplinks."""
        ledger = self._ledger
        taken = {self._network.uplink: "the fabric", self._fabric.uplink: "the fabric"}
        taken |= {port.representor: f"pod port {key}" for key, port in ledger.pod_ports.items()}
        return taken | {port.representor: f"port {key}" for key, port in ledger.ports.items()}


def held_representors(ledger: Ledger) -> frozenset[str]:
    """Representors that OPI's bridge ports have; nobody else may plug them."""
    return frozenset(thing.spec.netdev for thing in ledger.opi_network.values() if isinstance(thing.spec, BridgePort))
