"""What all objects share: metadata, conditions, references, and the way from and to JSON."""

from datetime import UTC, datetime
from typing import Any, Self

import msgspec

from proto.errors import DpuError
from proto.reasons import Reason

Json = dict[str, Any]

GROUP = "dpupool.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A value that is an object's JSON; unknown fields are ignored on the way in, defaults left out on the way out."""

    @classmethod
    def parse(cls, value: Json) -> Self:
        """Read one from JSON.

        Raises:
            DpuError: INVALID; the API server let an object through that its schema forbids.
        """
        try:
            return msgspec.convert(value, cls, strict=False)
        except msgspec.ValidationError as error:
            raise DpuError(
                Reason.INVALID, f"an object of the API cannot be read: {error}", remedy="correct it with kubectl edit"
            ) from error

    def json(self) -> Json:
        """This value as JSON."""
        built: Json = msgspec.to_builtins(self)
        return built


class OwnerReference(Wire, frozen=True, kw_only=True):
    """An object that this one dies with."""

    api_version: str = API_VERSION
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class Metadata(Wire, frozen=True, kw_only=True):
    """Identity and versions of an object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []

    @property
    def deleting(self) -> bool:
        """Whether somebody asked for it to go."""
        return self.deletion_timestamp is not None

    @property
    def key(self) -> str:
        """``namespace/name``, or the name alone for cluster-scoped kinds."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Ref(Wire, frozen=True, kw_only=True):
    """A reference by name."""

    name: str


class UidRef(Wire, frozen=True, kw_only=True):
    """A reference to one object of its name, and to none that is made later."""

    name: str = ""
    uid: str = ""


class SecretRef(Wire, frozen=True, kw_only=True):
    """A Secret in some namespace."""

    namespace: str
    name: str


class Condition(Wire, frozen=True, kw_only=True):
    """One aspect of an object, and why it is so."""

    type: str
    status: str
    reason: str
    message: str
    last_transition_time: str
    observed_generation: int = 0


def stamp(when: datetime) -> str:
    """`when` in RFC 3339 with microseconds, in UTC, as timelines carry it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def second(when: datetime) -> str:
    """`when` in RFC 3339 with seconds, in UTC, as Kubernetes' own times are."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """The instant that an RFC 3339 text names."""
    return datetime.fromisoformat(text)
