"""The side of the switch put together, for an engine of any mode whose daemon owns one.

switch = pod_switch(ledger, operations, drivers, settings)
Core(ledger, operations, {**others, **switch.drivers}, (*switch.auditors, *others), tidy, times)
side = switch.pods.side(settings.node)      # engine/cni_protocols.SwitchSide
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dpu_daemon.engine.bridge_audit import BridgeAuditor
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.pod_audit import PodAuditor
from dpu_daemon.engine.pod_job import PodDrivers
from dpu_daemon.engine.pod_ports import PodPorts
from dpu_daemon.engine.pod_protocols import PodLinks
from dpu_daemon.engine.protocols import Driver, Lost
from dpu_daemon.engine.repair import Auditor

__all__ = ["PodDrivers", "PodSwitch", "pod_switch"]


@dataclass(frozen=True, slots=True)
class PodSwitch:
    """Pods' ports, and what a Core needs to run them.

    Attributes:
        pods: the ports.
        drivers: by role, for the Core.
        auditors: bridges first, then pods' ports.
    """

    pods: PodPorts
    drivers: Mapping[str, Driver]
    auditors: tuple[Auditor, ...]


def pod_switch(ledger: Ledger, operations: Operations, drivers: PodDrivers, settings: NetworkSettings) -> PodSwitch:
    """Pods' ports over these drivers; `settings.node` is this system, whose containers get veths."""
    pods = PodPorts(ledger, operations, drivers, settings)
    heard = _Heard(drivers.links, pods)
    auditors = (BridgeAuditor(ledger, drivers, settings), PodAuditor(ledger, drivers, pods))
    return PodSwitch(pods, {"switch": drivers.switch, "pod_links": heard}, auditors)


class _Heard:
    """The links' driver, through which pods' ports learn how to alarm the audit."""

    def __init__(self, links: PodLinks, pods: PodPorts) -> None:
        self._links, self._pods = links, pods

    async def start(self, lost: Lost) -> None:
        self._pods.alarm = lost
        await self._links.start(lost)

    async def stop(self) -> None:
        await self._links.stop()

    def version(self) -> str:
        return self._links.version()
