"""Steps of OPI objects: one call to the block layer each."""

from dataclasses import dataclass
from enum import Enum

from dpu_daemon.model.opi import NO_LIMITS, Limits, OpiObject
from dpu_daemon.plan.steps import Step


class OpiVerb(Enum):
    """What is done with an object."""

    MAKE_VOLUME = "make volume"
    GROW_VOLUME = "grow volume"
    REMOVE_VOLUME = "remove volume"
    CONNECT_PATH = "connect path"
    DISCONNECT_PATH = "disconnect path"
    ENCRYPT = "encrypt"
    DECRYPT = "take the encryption away from"
    LIMIT = "set the limits under"
    MAKE_SUBSYSTEM = "make subsystem"
    REMOVE_SUBSYSTEM = "remove subsystem"
    ADMIT_HOST = "admit hosts to"
    EXPEL_HOST = "expel a host from"
    LISTEN = "show controller"
    STOP_LISTENING = "hide controller"
    ADD_NAMESPACE = "add namespace"
    REMOVE_NAMESPACE = "remove namespace"
    MAKE_VIRTIO_BLK = "make disk"
    REMOVE_VIRTIO_BLK = "remove disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpiStep(Step):
    """One call.

    Attributes:
        verb: what is done.
        subject: the object.
        owner: the object that it lives in, where the call needs it.
        bdev: name of the block device that the subject stands on, where the call needs it.
        limits: of LIMIT.
        host: of EXPEL_HOST and ADMIT_HOST; empty for any host.
    """

    verb: OpiVerb
    subject: OpiObject
    owner: OpiObject | None = None
    bdev: str = ""
    limits: Limits = NO_LIMITS
    host: str = ""

    @property
    def deadline_s(self) -> float:
        return 15.0

    def says(self) -> str:
        return f"{self.verb.value} {self.subject.name}"
