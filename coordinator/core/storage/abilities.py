"""What kinds of backends can and cannot do."""

from enum import Enum

from coordinator.core.objects.storage import DeletionPolicy, Volume
from coordinator.core.storage.source import FIELD, Source, SourceKind
from proto.errors import DpuError
from proto.reasons import Reason

Abilities = frozenset["Ability"]


class Ability(Enum):
    """One thing that a backend may be able to do; the value is for messages."""

    IMAGE = "register images"
    BLANK = "make blank volumes"
    CLAIM = "lend volumes that somebody else made"
    CLONE_IMAGE = "clone images"
    CLONE_SNAPSHOT = "clone snapshots"
    CLONE_VOLUME = "clone volumes"
    SNAPSHOT = "cut snapshots"
    GROUP = "cut snapshots of several volumes at one instant"
    RESIZE = "grow volumes"
    DELETE = "free the bytes of volumes"
    ERASE = "overwrite the bytes of volumes"
    FENCE = "cut a client off whose generation is over"
    CAPACITY = "tell its space"


NEEDED = {
    SourceKind.IMAGE: Ability.CLONE_IMAGE,
    SourceKind.SNAPSHOT: Ability.CLONE_SNAPSHOT,
    SourceKind.VOLUME: Ability.CLONE_VOLUME,
}

POLICIES = {DeletionPolicy.DELETE: Ability.DELETE, DeletionPolicy.SHRED: Ability.ERASE}


def require(abilities: Abilities, needed: Ability, backend: str, *, field: str, remedy: str) -> None:
    """Refuse what a backend cannot do before it is asked to.

    Raises:
        DpuError: UNSUPPORTED.
    """
    if needed not in abilities:
        raise DpuError(Reason.UNSUPPORTED, f"backend {backend} cannot {needed.value}", field=field, remedy=remedy)


def check_creation(volume: Volume, source: Source | None, abilities: Abilities) -> None:
    """Refuse a volume that its backend could not make, or could not let go as its policy says.

    Raises:
        DpuError: UNSUPPORTED; names the field.
    """
    backend = volume.spec.backend
    if source is not None:
        remedy = f"clone at a backend that can, or leave out {FIELD[source.kind]}"
        require(abilities, NEEDED[source.kind], backend, field="spec.source", remedy=remedy)
    elif Ability.CLAIM not in abilities:
        require(abilities, Ability.BLANK, backend, field="spec.backend", remedy="choose another backend")
    check_deletion(volume, abilities)


def check_deletion(volume: Volume, abilities: Abilities) -> None:
    """Refuse a policy for the bytes that the backend cannot follow.

    Raises:
        DpuError: UNSUPPORTED; says which policies it can follow.
    """
    policy, path = volume.spec.deletion_policy, "spec.deletionPolicy"
    can = ["Retain", *(one.value for one, ability in POLICIES.items() if ability in abilities)]
    remedy = f"write {' or '.join(sorted(can))}; erase the bytes yourself where they must not stay"
    if policy in POLICIES:
        require(abilities, POLICIES[policy], volume.spec.backend, field=path, remedy=remedy)
