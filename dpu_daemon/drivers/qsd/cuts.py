"""Cuts: several volumes frozen at one instant, each going on in a fresh layer.

First every fresh layer's file is made, then one transaction of the daemon puts all of them on. A volume that is not
open has no writer, and is cut as soon as its fresh layer is there. After a kill the files tell how far a cut came: with
all fresh layers there it has happened, or may be said to have (nobody can have written since); without one of them the
transaction cannot have begun.
"""

from collections.abc import Mapping, Sequence

from dpu_daemon.drivers.qsd.chain import Chains
from dpu_daemon.drivers.qsd.files import VolumeFiles
from dpu_daemon.drivers.qsd.graph import Node
from dpu_daemon.drivers.qsd.header import read_header
from dpu_daemon.drivers.qsd.layers import LAST_NUMBER, Layer, frozen_by, put_on_by
from dpu_daemon.drivers.qsd.maker import Qcow2Maker
from dpu_daemon.drivers.qsd.session import QmpSession
from dpu_daemon.model.volume import Snapshot
from proto.errors import DpuError
from proto.reasons import Reason


class Cuts:
    """Cuts snapshots.

    Args:
        session: of the daemon.
        files: of the layers.
        chains: in the daemon.
        maker: of files.
    """

    def __init__(self, session: QmpSession, files: VolumeFiles, chains: Chains, maker: Qcow2Maker) -> None:
        self._session = session
        self._files = files
        self._chains = chains
        self._maker = maker

    async def cut(self, snapshots: Sequence[Snapshot]) -> None:
        """Make all of these cuts, at one instant.

        Raises:
            DpuError: NOT_FOUND for a volume without a file, EXHAUSTED past the last number, STORAGE_FULL.
        """
        nodes = await self._chains.nodes()
        todo = [snapshot for snapshot in snapshots if not self._is_on(snapshot, nodes)]
        for snapshot in todo:
            await self._make(snapshot, nodes)
        opened = [snapshot for snapshot in todo if frozen_by(snapshot).name in nodes]
        for snapshot in opened:
            if put_on_by(snapshot).name not in nodes:
                await self._chains.add_loose(put_on_by(snapshot))
        if opened:
            actions = [
                {
                    "type": "blockdev-snapshot",
                    "data": {"node": frozen_by(snapshot).name, "overlay": put_on_by(snapshot).name},
                }
                for snapshot in opened
            ]
            await self._session.execute("transaction", {"actions": actions})

    async def abandon(self, snapshots: Sequence[Snapshot]) -> bool:
        """Remove what was made for these cuts; True, with everything left, when they have happened."""
        nodes = await self._chains.nodes()
        if any(self._is_on(snapshot, nodes) for snapshot in snapshots):
            return True
        opened = any(frozen_by(snapshot).name in nodes for snapshot in snapshots)
        if not opened and all(self._files.path(put_on_by(snapshot).name).exists() for snapshot in snapshots):
            return True
        for snapshot in snapshots:
            fresh = put_on_by(snapshot)
            await self._maker.clear(fresh.name)
            await self._chains.close(fresh)
            await self._files.remove(fresh)
        return False

    def _is_on(self, snapshot: Snapshot, nodes: Mapping[str, Node]) -> bool:
        """Whether the daemon has put the fresh layer on the frozen one, which it makes read-only at that instant."""
        frozen = nodes.get(frozen_by(snapshot).name)
        return put_on_by(snapshot).name in nodes and (frozen is None or frozen.read_only)

    async def _make(self, snapshot: Snapshot, nodes: Mapping[str, Node]) -> None:
        frozen, fresh = frozen_by(snapshot), put_on_by(snapshot)
        if self._files.path(fresh.name).exists():
            return
        if snapshot.number > LAST_NUMBER:
            message = f"volume {snapshot.volume_id} was snapshot {LAST_NUMBER} times, its limit"
            raise DpuError(Reason.EXHAUSTED, message, field="volume_id", remedy="clone it and use the clone")
        if not self._files.path(frozen.name).exists():
            message = f"volume {snapshot.volume_id} has no file"
            raise DpuError(Reason.NOT_FOUND, message, field="volume_id", remedy="restore it from a copy")
        size_bytes = nodes[frozen.name].size_bytes if frozen.name in nodes else self._size(frozen)
        path = self._files.unfinished(fresh.name)
        await self._maker.make(fresh.name, path, size_bytes, (self._files.path(frozen.name), "qcow2"))
        await self._files.finish(fresh.name)

    def _size(self, layer: Layer) -> int:
        return read_header(self._files.path(layer.name)).size_bytes
