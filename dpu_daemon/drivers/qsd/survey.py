"""What a look at a storage node finds: volumes and snapshots by their files, nodes and exports."""

from collections.abc import Collection, Iterable, Mapping

from dpu_daemon.drivers.qsd.barred import NODE
from dpu_daemon.drivers.qsd.chain import Chains
from dpu_daemon.drivers.qsd.files import VolumeFiles
from dpu_daemon.drivers.qsd.graph import Export, Node
from dpu_daemon.drivers.qsd.header import read_header
from dpu_daemon.drivers.qsd.images import IMAGE_NODE
from dpu_daemon.drivers.qsd.layers import Family, Layer, layer_of
from dpu_daemon.model.volume import SnapshotSeen, TargetSeen, VolumeSeen

READ_ONLY = "ro"
READ_WRITE = "rw"


class Survey:
    """One look.

    Args:
        files: of the layers.
        chains: in the daemon.
        nodes: of the daemon.
        exports: of the daemon.
        merging: layers whose content is being moved up.
    """

    def __init__(
        self,
        files: VolumeFiles,
        chains: Chains,
        nodes: Mapping[str, Node],
        exports: Mapping[str, Export],
        merging: Collection[Layer],
    ) -> None:
        self._files = files
        self._nodes = nodes
        self._exports = exports
        above = {each.handle for layer in merging for each in chains.standing_on(layer, nodes)}
        self._merging = above | {layer.handle for layer in merging}
        self._stats = files.layers()
        self._users = chains.users(nodes)

    def seen(self, images: Iterable[str | None]) -> TargetSeen:
        """The look as the model says it; `images` are the ids of those that are open."""
        known = self._files.families()
        tops = {handle: family.top for handle, family in known.items() if family.top is not None}
        frozen = [layer for family in known.values() for layer in family.frozen]
        everything = tops | lost(self._nodes, known)
        return TargetSeen(
            volumes={handle: self._volume(layer) for handle, layer in sorted(everything.items())},
            images=frozenset(image_id for image_id in images if image_id),
            snapshots={layer.snapshot_handle: self._snapshot(layer) for layer in frozen},
        )

    def _volume(self, top: Layer) -> VolumeSeen:
        own = [export.id for export in exports_of(top.handle, self._exports)]
        return VolumeSeen(
            handle=top.handle,
            file_exists=top in self._stats,
            opened=top.name in self._nodes,
            size_bytes=self._size_bytes(top),
            allocated_bytes=self._allocated_bytes(top),
            exported=bool(own),
            export_read_only=bool(own) and all(export_id.endswith(f"-{READ_ONLY}") for export_id in own),
        )

    def _snapshot(self, layer: Layer) -> SnapshotSeen:
        return SnapshotSeen(
            handle=layer.snapshot_handle,
            size_bytes=self._size_bytes(layer),
            allocated_bytes=self._allocated_bytes(layer),
            users=self._users[str(self._files.path(layer.name))],
            merging=layer.handle in self._merging,  # two merges of one chain exclude each other: the second waits
        )

    def _size_bytes(self, layer: Layer) -> int:
        node = self._nodes.get(layer.name)
        return node.size_bytes if node is not None else read_header(self._files.path(layer.name)).size_bytes

    def _allocated_bytes(self, layer: Layer) -> int:
        return self._stats[layer].st_blocks * 512 if layer in self._stats else 0


def lost(nodes: Mapping[str, Node], known: Mapping[str, Family]) -> dict[str, Layer]:
    """Layers that are open and whose whole family has no file any more, by handle."""
    opened = [layer_of(name) for name, node in nodes.items() if node.driver == "qcow2"]
    return {layer.handle: layer for layer in opened if layer is not None and layer.handle not in known}


def exports_of(handle: str, exports: Mapping[str, Export]) -> list[Export]:
    """Exports follow the top layer, so their ids tell whose they are; barred names are nobody's."""
    return [each for each in exports.values() if each.id.startswith(f"{handle}-g") and each.node != NODE]


def stands(node: Node) -> bool:
    """Whether a node can be what a layer stands on, not the plain file under it."""
    return IMAGE_NODE.fullmatch(node.name) is not None or layer_of(node.name) is not None
