"""What this driver knows of its SPDK process without asking: which disks may be there, and which process it is.

Nobody else gives names like ours, so a disk of which the last full look and all calls since have left no trace is
absent. Everything else is asked for.
"""

import asyncio
import uuid
from collections.abc import Mapping

import structlog

from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.listing import BdevSeen, Lists, list_all, list_some
from dpu_daemon.drivers.spdk.names import MARKER, base_name, front_nqn, top_name
from dpu_daemon.drivers.spdk.parts import Parts, parts_of
from dpu_daemon.drivers.spdk.remote import Remotes
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.model.disk import Attachment, DiskProtocol, SeedFile
from dpu_daemon.model.identity import is_disk_handle

LOG = structlog.get_logger(__name__)


class Replica:
    """The driver's memory of one SPDK process.

    Args:
        rpc: the process.
        remotes: told which controllers are there.
    """

    def __init__(self, rpc: SpdkRpc, remotes: Remotes) -> None:
        self._rpc = rpc
        self._remotes = remotes
        self._parts: dict[str, Parts] = {}
        self._touched: set[str] = set()
        self._claims: dict[str, str] = {}
        self._marker = ""
        self._looking: asyncio.Task[Lists] | None = None
        self._next: asyncio.Task[Lists] | None = None
        self.restarts = 0

    async def arrive(self) -> None:
        """A new connection: whose process is it, and what does it have?"""
        try:
            found = await self._rpc.call("bdev_get_bdevs", {"name": MARKER}, of=list[BdevSeen])
        except SpdkError:
            found = []
        if not found or found[0].uuid != self._marker:
            self.restarts += 1 if self._marker else 0
            self._marker = found[0].uuid if found else await self._mark()
            LOG.info("an SPDK process that this driver did not know", marker=self._marker, found=bool(found))
        lists = await list_all(self._rpc)
        self._touched.clear()
        self._claims.clear()
        self._parts = parts_of(lists)
        self._remotes.adopt(_by_nqn(lists))

    async def _mark(self) -> str:
        marker = str(uuid.uuid4())
        await self._rpc.call("bdev_null_create", {"name": MARKER, "num_blocks": 8, "block_size": 512, "uuid": marker})
        return marker

    def touch(self, handle: str) -> None:
        """Something of this disk is about to change."""
        self._touched.add(handle)

    def known(self, handle: str) -> Parts | None:
        """What the last look found of a disk."""
        return self._parts.get(handle)

    def all(self) -> tuple[Parts, ...]:
        """What the last look found of all disks."""
        return tuple(self._parts.values())

    def is_touched(self, handle: str) -> bool:
        """Whether something of a disk changed since it was looked at."""
        return handle in self._touched

    def may_be_there(self, handle: str) -> bool:
        """Whether asking is worth it."""
        return handle in self._parts or handle in self._touched

    def others_on(self, controller: str, but: str) -> bool:
        """Whether another disk uses, or may be about to use, a remote controller."""
        users = [handle for handle, name in self._claims.items() if name == controller]
        users += [
            handle
            for handle, parts in self._parts.items()
            if parts.controller is not None and parts.controller.name == controller
        ]
        return any(handle != but for handle in users)

    def claim(self, handle: str, controller: str) -> None:
        """A disk is about to stand on this controller; holds until the disk is looked at."""
        self._claims[handle] = controller

    def keep(self, handle: str, parts: Parts | None) -> None:
        """What a look found of a disk."""
        self._touched.discard(handle)
        self._claims.pop(handle, None)
        if parts is None:
            self._parts.pop(handle, None)
        else:
            self._parts[handle] = parts

    async def look_at(self, disk: Attachment) -> tuple[Parts, Lists]:
        """One disk, by the names that its parts have."""
        spec, handle = disk.spec, disk.handle
        controllers: tuple[str, ...] = ()
        if isinstance(spec.source, SeedFile):
            base = base_name(disk, "", 0)
        else:
            name = self._remotes.name_for(handle, spec.source)
            controllers = (name,)
            base = base_name(disk, name, spec.source.nsid or self._nsid_of(handle))
        top = top_name(disk, base)
        lists = await list_some(
            self._rpc,
            bdevs=tuple(dict.fromkeys((top, base))),
            controllers=controllers,
            subsystem=front_nqn(handle) if spec.protocol is DiskProtocol.NVME else "",
            vhost=handle if spec.protocol is DiskProtocol.VIRTIO_BLK else "",
        )
        return self._taken_from(lists, disk, top, controllers), lists

    def _nsid_of(self, handle: str) -> int:
        """Of a subsystem with one namespace only; its number is learnt at the connect."""
        parts = self._parts.get(handle)
        if parts is not None and parts.layers:
            number = parts.layers[-1].name.rpartition("n")[2]
            return int(number) if number.isdigit() else 1
        return 1

    def _taken_from(self, lists: Lists, disk: Attachment, top: str, controllers: tuple[str, ...]) -> Parts:
        parts = parts_of(lists, default_controllers=controllers).get(disk.handle)
        if parts is None and top in lists.bdevs and not controllers:
            parts = Parts(disk.handle, layers=(lists.bdevs[top],))
        found = parts or Parts(disk.handle)
        self.keep(disk.handle, found if found != Parts(disk.handle) else None)
        return found

    async def look(self) -> Lists:
        """Everything. Callers that come while a look is under way share the next one."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
            return await asyncio.shield(self._looking)
        if self._next is None:
            self._next = asyncio.create_task(self._look_after(self._looking))
        return await asyncio.shield(self._next)

    async def _look_after(self, earlier: asyncio.Task[Lists]) -> Lists:
        await asyncio.wait({earlier})
        self._looking, self._next = self._next, None
        return await self._look()

    async def _look(self) -> Lists:
        touched = set(self._touched)
        self._remotes.watch()
        try:
            lists = await list_all(self._rpc)
        finally:
            if self._next is None:
                self._looking = None
        self._remotes.correct(_by_nqn(lists))
        now = parts_of(lists)
        # What changed while the lists were made is asked for anew.
        changed = self._touched - touched
        self._touched = changed
        self._parts = {h: p for h, p in self._parts.items() if h in changed} | {
            h: p for h, p in now.items() if h not in changed
        }
        return lists

    def husks(self, lists: Lists) -> tuple[str, ...]:
        """Fronts for vhost clients whose disk is gone and whose client has left at last."""
        return tuple(
            name
            for name, vhost in lists.vhosts.items()
            if is_disk_handle(name) and not vhost.bdev and not vhost.sessions
        )


def _by_nqn(lists: Lists) -> Mapping[str, str]:
    return {
        controller.ctrlrs[0].trid.subnqn: name for name, controller in lists.controllers.items() if controller.ctrlrs
    }
