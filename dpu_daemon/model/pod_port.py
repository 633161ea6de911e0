"""A pod's port on the switch: what is to be there, what is seen there, and how it stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from dpu_daemon.model.assignment import Assignment, PodPort
from dpu_daemon.model.port import NO_LIMIT, Limit, LinkSeen, SwitchSeen


class PodPortState(Enum):
    """Where an assigned port stands."""

    ASSIGNED = "assigned"
    CONVERGING = "converging"
    FORWARDING = "forwarding"
    DEGRADED = "degraded"
    RELEASING = "releasing"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPlug:
    """A port of a pod as the switch shall have it.

    Attributes:
        holder: ``CONTAINER/INTERFACE``; marks the port as a pod's, and whose.
        limit: towards the container.
        wait_for_ovn: it forwards once ovn-controller says so.
    """

    bridge: str
    netdev: str
    port_id: str
    mac: str
    holder: str
    vlan: int = 0
    limit: Limit = NO_LIMIT
    wait_for_ovn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PodWorld:
    """One look at the switch, and at those links that pods' ports stand on."""

    switch: SwitchSeen = field(default_factory=SwitchSeen)
    links: Mapping[str, LinkSeen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedPort:
    """A port as the coordinator sees it; `holder` is None while no container has it."""

    assignment: Assignment
    state: PodPortState
    holder: PodPort | None = None
    message: str = ""
