"""CNI of a node put together: the container's side over the side of the switch, which is here or on a DPU.

network = node_network(ledger, operations, drivers, vfs)
drivers, auditors = {**others, **network.drivers}, (*others, *network.auditors)
Core(ledger, operations, drivers, auditors, tidy, times, workers=network.workers)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from dpu_daemon.engine.cni_node import CniNode
from dpu_daemon.engine.cni_protocols import DeviceFiles, SandboxLinks, SwitchSide, VfGiver
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.node_port import NodePort, NodePortSettings
from dpu_daemon.engine.offload import OffloadMonitor, OffloadParts
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.pod_ports import PodPorts
from dpu_daemon.engine.pod_switch import PodDrivers, pod_switch
from dpu_daemon.engine.protocols import Driver
from dpu_daemon.engine.repair import Auditor
from dpu_daemon.engine.sandbox_add import NodeParts
from dpu_daemon.engine.sandbox_audit import SandboxAuditor


class Peer(Driver, SwitchSide, Protocol):
    """A DPU that has the switch."""


@dataclass(frozen=True, slots=True)
class OwnSwitch:
    """A switch of this node's own: CNI mode default."""

    drivers: PodDrivers
    settings: NetworkSettings
    offload: OffloadParts | None = None


@dataclass(frozen=True, slots=True)
class Containers:
    """The container's side."""

    links: SandboxLinks
    files: DeviceFiles


@dataclass(frozen=True, slots=True)
class CniDrivers:
    """What CNI on a node stands on.

    Attributes:
        node: the node's own port; None where there is nothing of it.
    """

    side: OwnSwitch | Peer
    inside: Containers
    node: NodePortSettings | None = None


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """CNI of a node, and what a Core needs to run it.

    Attributes:
        cni: serves the calls.
        drivers: by role.
        workers: by role, what uses the drivers as soon as it is started.
        auditors: those of the switch first.
        pods: ports on this node's own switch; None where a DPU has it.
        offload: of that switch.
    """

    cni: CniNode
    drivers: Mapping[str, Driver]
    workers: Mapping[str, Driver]
    auditors: tuple[Auditor, ...]
    pods: PodPorts | None = None
    offload: OffloadMonitor | None = None


def node_network(
    ledger: Ledger, operations: Operations, drivers: CniDrivers, vfs: VfGiver | None = None
) -> NodeNetwork:
    """CNI over these drivers; with a DPU every container gets a virtual function."""
    side = drivers.side
    if not isinstance(side, OwnSwitch):
        inside = over(ledger, side, drivers.inside, vfs, needs_function=True, own=drivers.node)
        return replace(inside, drivers={"dpu": side, **inside.drivers})
    switch = pod_switch(ledger, operations, side.drivers, side.settings)
    inside = over(ledger, switch.pods.side(side.settings.node), drivers.inside, vfs, own=drivers.node)
    offload = side.offload.monitor(ledger) if side.offload is not None else None
    more: dict[str, Driver] = {"offload": offload} if offload is not None else {}
    return NodeNetwork(
        inside.cni,
        {**switch.drivers, **inside.drivers},
        {**more, **inside.workers},
        (*switch.auditors, *inside.auditors),
        switch.pods,
        offload,
    )


def over(
    ledger: Ledger,
    side: SwitchSide,
    inside: Containers,
    vfs: VfGiver | None = None,
    *,
    needs_function: bool = False,
    own: NodePortSettings | None = None,
) -> NodeNetwork:
    """The container's side alone, over a switch that the caller runs (CNI mode dpu)."""
    cni = CniNode(ledger, NodeParts(side, inside.links, vfs, inside.files, needs_function=needs_function))
    auditor = SandboxAuditor(ledger, cni)
    workers: dict[str, Driver] = {}
    if own is not None:
        workers["node-port"] = NodePort(ledger, cni, side, inside.links, own)
    return NodeNetwork(cni, {"sandboxes": inside.links}, workers, (auditor,))
