"""Parameters of a StorageClass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from coordinator.core.csi.names import is_object_name
from coordinator.core.objects.storage import DeletionPolicy, DiskProtocol
from proto.errors import DpuError
from proto.reasons import Reason

FOREIGN_PREFIX = "csi.storage.k8s.io/"
"""Parameters that the sidecars add for information; they are not the class's."""
BACKEND_PREFIX = "backend/"
"""Parameters that go to the backend as they are, without the prefix."""

E = TypeVar("E", bound=Enum)


class Key(Enum):
    """Parameters that mean something here."""

    BACKEND = "backend"
    IMAGE = "image"
    PROTOCOL = "protocol"
    DELETION_POLICY = "deletionPolicy"
    ENCRYPTION_SECRET = "encryptionSecret"  # noqa: S105  (the name of a parameter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a StorageClass asks for.

    Attributes:
        backend: name of a storage backend; empty for that of the source, or the default.
        image: Image to clone; empty for a blank disk.
        protocol: how hosts see the disk; None for what their DPU likes.
        deletion_policy: what happens to the bytes.
        encryption_secret: Secret with the key, in the namespace of the volumes; empty for none.
        own: words to the backend.
        claim: where the volume comes from, for people: keys of the sidecars.
    """

    backend: str = ""
    image: str = ""
    protocol: DiskProtocol | None = None
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    encryption_secret: str = ""
    own: Mapping[str, str] = field(default_factory=dict)
    claim: Mapping[str, str] = field(default_factory=dict)


def parse_parameters(given: Mapping[str, str]) -> Parameters:
    """Read the parameters of a class.

    Raises:
        DpuError: INVALID; names the key and what may stand there.
    """
    words, own, claim = {}, {}, {}
    for key, value in given.items():
        if key.startswith(FOREIGN_PREFIX):
            claim[key] = value
        elif key.startswith(BACKEND_PREFIX):
            own[key.removeprefix(BACKEND_PREFIX)] = value
        elif key in {known.value for known in Key}:
            words[Key(key)] = value
        else:
            remedy = f"use {', '.join(known.value for known in Key)}, or {BACKEND_PREFIX}KEY for the backend's own"
            raise _wrong(key, f"{key!r} is no parameter", remedy)
    for name in (Key.BACKEND, Key.IMAGE, Key.ENCRYPTION_SECRET):
        if name in words and not is_object_name(words[name]):
            raise _wrong(name.value, f"{words[name]!r} is no name", "write the name of an object")
    return Parameters(
        backend=words.get(Key.BACKEND, ""),
        image=words.get(Key.IMAGE, ""),
        protocol=_choice(words, Key.PROTOCOL, DiskProtocol),
        deletion_policy=_choice(words, Key.DELETION_POLICY, DeletionPolicy) or DeletionPolicy.DELETE,
        encryption_secret=words.get(Key.ENCRYPTION_SECRET, ""),
        own=own,
        claim=claim,
    )


def own_parameters(given: Mapping[str, str]) -> dict[str, str]:
    """The class's parameters alone, which a repeat must have, too."""
    return {key: value for key, value in given.items() if not key.startswith(FOREIGN_PREFIX)}


def refuse_parameters(given: Mapping[str, str]) -> None:
    """Refuse any parameter but the sidecars' own: snapshots have none.

    Raises:
        DpuError: INVALID.
    """
    for key in own_parameters(given):
        raise _wrong(key, f"{key!r} is no parameter of snapshots", "leave it out of the class")


def _choice(words: Mapping[Key, str], key: Key, choices: type[E]) -> E | None:
    if key not in words:
        return None
    try:
        return choices(words[key])
    except ValueError as error:
        known = " or ".join(str(choice.value) for choice in choices)
        raise _wrong(key.value, f"{words[key]!r} is not possible", f"write {known}") from error


def _wrong(key: str, message: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, message, field=f"parameters[{key}]", remedy=remedy)
