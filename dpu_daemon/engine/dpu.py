"""The engine of a DPU: disks, ports, seeds and machines of its host."""

from collections.abc import Iterator
from dataclasses import dataclass

from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.core import Core, Slots, census_state
from dpu_daemon.engine.disk_audit import DiskAuditor
from dpu_daemon.engine.disk_job import DiskDrivers
from dpu_daemon.engine.disk_secrets import DiskSecrets
from dpu_daemon.engine.disks import Disks
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.machines import Machines
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.node_network import Containers, over
from dpu_daemon.engine.offload import OffloadParts
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.opi.auditor import storage_auditor
from dpu_daemon.engine.opi.objects import OpiLayer, OpiObjects
from dpu_daemon.engine.opi_network.auditor import NetAuditor
from dpu_daemon.engine.opi_network.objects import NetLayer, NetworkObjects
from dpu_daemon.engine.pod_protocols import PodLinks, PodSwitchDriver
from dpu_daemon.engine.pod_switch import PodDrivers, pod_switch
from dpu_daemon.engine.port_audit import PortAuditor
from dpu_daemon.engine.port_job import PortDrivers
from dpu_daemon.engine.ports import Ports
from dpu_daemon.engine.protocols import (
    BlockDriver,
    CredentialStore,
    Driver,
    HostBus,
    LinkDriver,
    Prober,
    SeedWriter,
)
from dpu_daemon.engine.repair import Auditor
from dpu_daemon.engine.seeds import Seeds


@dataclass(frozen=True, slots=True, kw_only=True)
class DpuDrivers:
    """Everything that a DPU's engine asks of the world.

    `opi` is None where the block layer cannot serve OPI, `opi_network` where the switch has no bridge for it.
    """

    block: BlockDriver
    bus: HostBus
    switch: PodSwitchDriver
    links: LinkDriver
    pod_links: PodLinks
    prober: Prober
    seed_writer: SeedWriter
    credentials: CredentialStore | None = None
    opi: OpiLayer | None = None
    opi_network: NetLayer | None = None
    offload: OffloadParts | None = None
    containers: Containers | None = None


class DpuEngine:
    """All that a DPU does.

    Args:
        ledger: loaded.
        drivers: of this DPU.
        network: its settings.
        times: of the audits.
    """

    def __init__(
        self, ledger: Ledger, drivers: DpuDrivers, network: NetworkSettings, times: AuditTimes | None = None
    ) -> None:
        operations = Operations(width=drivers.block.width())
        self._bus = drivers.bus
        disk_drivers = DiskDrivers(drivers.block, drivers.bus)
        self.disks = Disks(ledger, operations, disk_drivers)
        self.secrets = DiskSecrets(ledger, drivers.credentials)
        port_drivers = PortDrivers(drivers.switch, drivers.links, drivers.bus)
        self.ports = Ports(ledger, operations, port_drivers, drivers.prober, network)
        switch = pod_switch(ledger, operations, PodDrivers(drivers.switch, drivers.pod_links), network)
        self.pods = switch.pods
        self.seeds = Seeds(ledger, operations, self.disks, drivers.seed_writer)
        self.machines = Machines(ledger, self.disks, self.ports, self.seeds)
        self.opi = OpiObjects(ledger, operations, drivers.opi) if drivers.opi is not None else None
        bridging = drivers.opi_network
        self.opi_network = NetworkObjects(ledger, operations, bridging, network) if bridging is not None else None
        self.offload = drivers.offload.monitor(ledger) if drivers.offload is not None else None
        offload: dict[str, Driver] = {"offload": self.offload} if self.offload is not None else {}
        self.network = over(ledger, self.pods.side(network.node), drivers.containers) if drivers.containers else None
        inside = self.network.drivers if self.network is not None else {}
        self._vf_count = network.vf_count
        opi_drivers: dict[str, Driver] = {"opi": drivers.opi.driver} if drivers.opi is not None else {}
        opi_auditors: list[Auditor] = [storage_auditor(self.opi)] if self.opi is not None else []
        if self.opi_network is not None:
            opi_drivers["opi_network"] = self.opi_network.driver
            opi_auditors.append(NetAuditor(self.opi_network))
        self.core = Core(
            ledger,
            operations,
            {"block": drivers.block, "bus": drivers.bus, **switch.drivers, "links": drivers.links}
            | opi_drivers
            | dict(inside),
            (
                *switch.auditors,
                *(self.network.auditors if self.network is not None else ()),
                DiskAuditor(ledger, disk_drivers, self.disks),
                PortAuditor(ledger, port_drivers, self.ports, network),
                *opi_auditors,
            ),
            self.seeds.tidy,
            times or AuditTimes(),
            workers=offload | dict(self.network.workers if self.network is not None else {}),
        )

    @staticmethod
    async def open(
        journal: Journal, drivers: DpuDrivers, network: NetworkSettings, times: AuditTimes | None = None
    ) -> "DpuEngine":
        """An engine that has read its journal; call `core.start` to let it work."""
        ledger = Ledger(journal)
        await ledger.load()
        return DpuEngine(ledger, drivers, network, times)

    def census(self) -> Iterator[tuple[str, str]]:
        """Kind of every wanted thing, and whether it was whole once."""
        ledger = self.core.ledger
        for disk in tuple(ledger.attachments.values()):
            yield "attachment", census_state(wanted=disk.wanted, established=disk.established)
        for port in tuple(ledger.ports.values()):
            yield "port", census_state(wanted=port.wanted, established=port.established)
        for pod in tuple(ledger.pod_ports.values()):
            yield "pod_port", census_state(wanted=pod.wanted, established=pod.established)
        for state in self.network.cni.census() if self.network is not None else ():
            yield "sandbox", state
        for thing in tuple(ledger.opi.values()):
            yield "opi", census_state(wanted=thing.wanted, established=thing.established)
        for net in tuple(ledger.opi_network.values()):
            yield "opi_network", census_state(wanted=net.wanted, established=net.established)

    def slots(self) -> Slots:
        """What the host's bus offers and what is given away."""
        return Slots(
            disks=self._bus.disk_slots(),
            disks_used=self.disks.slots_used(),
            nics=min(self._bus.nic_slots(), self._vf_count),
            nics_used=self.ports.functions_used(),
        )
