"""Layers: the qcow2 files that a volume and its snapshots are made of; pure.

Volume ``H`` begins as layer ``H``. Cutting its snapshot number N freezes layer N - 1 (``H`` is number 0) and puts layer
``H.N`` on it, which takes the writes from then on. A layer's file, its block node and the jobs on it have its name, and
its backing file is what it stands on, so that directory and daemon tell all there is to know. What the volume has
now is its highest layer; when the volume is deleted and its snapshots stay, an empty ``.gone`` file keeps that place.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dpu_daemon.model.volume import Snapshot

_LAYER = re.compile(r"(?P<handle>[A-Za-z][A-Za-z0-9_-]{0,19})(\.(?P<number>[1-9][0-9]{0,5}))?")
"""20 + 7 characters leave room for the suffix of a node that is being made; a node's name has 31 at most."""

LAST_NUMBER = 999_999


@dataclass(frozen=True, slots=True, order=True)
class Layer:
    """One layer of a volume."""

    handle: str
    number: int

    @property
    def name(self) -> str:
        """Of its file, without the suffix, and of its block node."""
        return f"{self.handle}.{self.number}" if self.number else self.handle

    @property
    def snapshot_handle(self) -> str:
        """Handle of the snapshot that froze it, if one did."""
        return f"{self.handle}.{self.number + 1}"


def layer_of(name: str) -> Layer | None:
    """The layer of this name; None when it is no layer's."""
    found = _LAYER.fullmatch(name)
    return Layer(found["handle"], int(found["number"] or 0)) if found else None


def frozen_by(snapshot: Snapshot) -> Layer:
    """The layer that holds a snapshot's content."""
    return Layer(snapshot.volume_handle, snapshot.number - 1)


def put_on_by(snapshot: Snapshot) -> Layer:
    """The layer that takes the volume's writes once the snapshot is cut."""
    return Layer(snapshot.volume_handle, snapshot.number)


@dataclass(frozen=True, slots=True)
class Family:
    """All layers of one volume.

    Attributes:
        top: the layer that the volume is; None when it was deleted and only snapshots are left.
        frozen: what snapshots hold, lowest first.
    """

    top: Layer | None
    frozen: tuple[Layer, ...]


def families(layers: Iterable[Layer], gone: Iterable[Layer]) -> dict[str, Family]:
    """Families by the handles of their volumes.

    Args:
        layers: that have a file.
        gone: places of volumes that were deleted before their snapshots.
    """
    numbers: dict[str, list[int]] = {}
    for layer in layers:
        numbers.setdefault(layer.handle, []).append(layer.number)
    left = {layer.handle: layer.number for layer in gone}
    return {handle: _family(handle, sorted(has), left.get(handle, -1)) for handle, has in numbers.items()}


def _family(handle: str, numbers: list[int], gone: int) -> Family:
    has_top = numbers[-1] > gone
    frozen = numbers[:-1] if has_top else numbers
    return Family(
        top=Layer(handle, numbers[-1]) if has_top else None,
        frozen=tuple(Layer(handle, number) for number in frozen),
    )
