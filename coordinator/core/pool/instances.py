"""Instances of node groups, and nodes, as an external autoscaler speaks of them."""

from dataclasses import dataclass
from enum import Enum, IntEnum


class ErrorClass(IntEnum):
    """What kept an instance from coming, in the numbers of the protocol."""

    OUT_OF_RESOURCES = 1
    OTHER = 99


class Fault(Enum):
    """Error codes of instances."""

    NO_SERVER = "NoServerAvailable"
    GIVEN_UP = "ProvisioningFailed"


class InstanceState(Enum):
    """Where an instance is in its life."""

    CREATING = "Creating"
    RUNNING = "Running"
    DELETING = "Deleting"


@dataclass(frozen=True, slots=True)
class Instance:
    """One node of a group, or one that is to come.

    Attributes:
        id: provider ID of its node.
        fault: why it will not come; None while nothing is wrong.
    """

    id: str
    state: InstanceState
    fault: Fault | None = None
    message: str = ""

    @property
    def error_class(self) -> ErrorClass:
        """The class of its fault."""
        return ErrorClass.OUT_OF_RESOURCES if self.fault is Fault.NO_SERVER else ErrorClass.OTHER


@dataclass(frozen=True, slots=True)
class NodeRef:
    """A node by what an autoscaler tells of it."""

    provider_id: str = ""
    name: str = ""
