"""What kinds of backends can and cannot do."""

from enum import Enum

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
