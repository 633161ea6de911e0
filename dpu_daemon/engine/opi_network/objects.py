"""Objects of the OPI network API: logical bridges, ports of hosts, routing domains and their gateways."""

from collections.abc import Mapping
from dataclasses import dataclass

from dpu_daemon.engine.convergence import converge
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.opi.lifecycle import Lifecycle
from dpu_daemon.engine.opi_network.intents import AskedNet, NetIntents
from dpu_daemon.engine.opi_network.job import NetJob, NetStrayJob
from dpu_daemon.engine.opi_network.protocols import NetDriver
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.opi_network import NetObject
from dpu_daemon.model.opi_network_seen import NetSeen
from dpu_daemon.plan.opi_network_status import OperState, Part, oper_state, parts_of
from dpu_daemon.plan.opi_network_wanted import Fabric, NetWanted


@dataclass(frozen=True, slots=True)
class NetLayer:
    """What OPI network objects stand on."""

    driver: NetDriver
    fabric: Fabric


@dataclass(frozen=True, slots=True)
class NetView:
    """An object as a client sees it."""

    record: NetObject
    state: OperState
    parts: tuple[Part, ...]


class NetworkObjects(Lifecycle[NetObject, AskedNet, NetSeen, NetView]):
    """All OPI network objects of this DPU.

    Args:
        ledger: what is wanted.
        operations: locks and lanes of callers.
        layer: switch and kernel, and what of them is OPI's.
        network: the DPU's representors.
    """

    row = RecordKind.OPI_NETWORK
    ground = "the switch and the routing domains"

    def __init__(self, ledger: Ledger, operations: Operations, layer: NetLayer, network: NetworkSettings) -> None:
        self.driver = layer.driver
        self.fabric = layer.fabric
        intents = NetIntents(ledger, layer.fabric, network, self.look)
        super().__init__(ledger, operations, intents, layer.driver.look)

    @property
    def records(self) -> Mapping[str, NetObject]:
        """All objects, by resource name."""
        return self.ledger.opi_network

    @property
    def wanted(self) -> NetWanted:
        """All that is wanted now."""
        return NetWanted(self.records, self.fabric)

    def view(self, record: NetObject, seen: NetSeen | None) -> NetView:
        """A record as a client sees it, with what one look shows of it."""
        parts = parts_of(record, self.wanted, seen)
        return NetView(record, oper_state(record, parts, seen), parts)

    async def remove_stray(self, name: str) -> bool:
        """Remove the ports of an object that nobody knows; whether there were any."""
        job = NetStrayJob(name, self.ledger, self.driver, self._sight, self.fabric)
        return (await converge(self.ledger, job)).acted

    def _job(self, name: str) -> NetJob:
        return NetJob(name, self.ledger, self.driver, self._sight, self.fabric)
