"""Says on NetworkPolicies, SecurityGroups, Services and pods what of them is not as it was written; each thing once."""

from collections.abc import Iterable
from enum import Enum

from coordinator.controllers.events import Recorder
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json, Metadata
from proto.errors import DpuError

REMEMBERED = 4096


class Complaint(Enum):
    """Reasons of these Events."""

    DENIED = "DeniedAsUnreadable"
    DIFFERENT = "ServedDifferently"
    NO_GROUP = "SecurityGroupMissing"
    NO_ADDRESS = "ServiceAddressRefused"


class Complaints:
    """What was told of each object, so that a look that finds the same again is silent."""

    def __init__(self, events: Recorder) -> None:
        self._events = events
        self._told: dict[str, frozenset[str]] = {}

    def policy(self, found: Json, faults: Iterable[DpuError]) -> None:
        """Of a NetworkPolicy: what cannot be read lets nothing through."""
        self._tell(Foreign.NETWORK_POLICY, Metadata.parse(found["metadata"]), Complaint.DENIED, map(str, faults))

    def group(self, meta: Metadata, faults: Iterable[DpuError]) -> None:
        """Of a SecurityGroup, likewise."""
        self._tell(Kind.SECURITY_GROUP, meta, Complaint.DENIED, map(str, faults))

    def service(self, found: Json, faults: Iterable[DpuError], refused: Iterable[DpuError]) -> None:
        """Of a Service: it is not served, or otherwise than it asks; and of its addresses that are somebody else's."""
        meta = Metadata.parse(found["metadata"])
        self._tell(Foreign.SERVICE, meta, Complaint.DIFFERENT, map(str, faults))
        self._tell(Foreign.SERVICE, meta, Complaint.NO_ADDRESS, map(str, refused), Complaint.NO_ADDRESS.value)

    def pod(self, found: Json, group: str) -> None:
        """Of a pod: it names a group that is not there, and so nothing reaches or leaves it."""
        sentence = f"security group {group} is not there, so nothing passes this pod: make it, or take its name off"
        self._tell(Foreign.POD, Metadata.parse(found["metadata"]), Complaint.NO_GROUP, [sentence], group)

    def machine(self, meta: Metadata, group: str) -> None:
        """Of a machine, likewise: a NIC of it names a group that is not there."""
        sentence = (
            f"security group {group} is not there, so nothing passes the NICs that name it: make it, or take it off"
        )
        self._tell(Kind.MACHINE, meta, Complaint.NO_GROUP, [sentence], group)

    def _tell(
        self, kind: Kind | Foreign, meta: Metadata, reason: Complaint, sentences: Iterable[str], about: str = ""
    ) -> None:
        now, key = frozenset(sentences), f"{meta.uid}/{about}"
        for sentence in sorted(now - self._told.get(key, frozenset())):
            self._events.tell(kind, meta, reason.value, sentence, warning=True)
        self._told.pop(key, None)
        if now:
            self._told[key] = now
        while len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
