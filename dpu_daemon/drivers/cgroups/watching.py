"""Notices groups that come and go, and puts newcomers on the shared CPUs before anything else is done.

A new group starts on all CPUs of its parent, which include those of the bound containers beside it. The audit puts that
right, but it looks at every group first; so the watch itself writes the one file of the one new group at once. It needs
to know nothing of the others for that: a newcomer only ever loses CPUs.
"""

import asyncio
from dataclasses import dataclass, field

from asyncinotify import Inotify
from asyncinotify import Mask as Watch
from asyncinotify import Watch as Watched

from dpu_daemon.drivers.cgroups.layout import Named, read_name, root_name
from dpu_daemon.drivers.cgroups.tree import CgroupTree
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.cgroup import Layer
from proto.cpuset import Mask

AGAIN_S = 1.0
_EVENTS = Watch.CREATE | Watch.DELETE | Watch.ONLYDIR


@dataclass(frozen=True, slots=True)
class _Place:
    """A directory that is watched: its group, and what its name means (None for the root of all pods)."""

    path: str
    named: Named | None


@dataclass(slots=True)
class GroupWatch:
    """Watches all directories in which a pod's or a container's group can come.

    Attributes:
        tree: whose.
        shared: CPUs for newcomers; 0 leaves them alone.
        trouble: why some groups are not watched, in a sentence; the audit finds those that come there.
    """

    tree: CgroupTree
    shared: Mask = 0
    trouble: str = ""
    _places: dict[Watched, _Place] = field(default_factory=dict)

    async def run(self, lost: Lost) -> None:
        """Watch for ever; tells `lost`, without a word, that groups came or went."""
        home = self.tree.directory("")
        while True:
            while not home.is_dir():  # noqa: ASYNC110  (the kernel tells nothing of a directory that is not there)
                await asyncio.sleep(AGAIN_S)
            with Inotify() as inotify:
                self._add_home(inotify)
                lost("groups of pods are watched")
                await self._follow(inotify, lost)
            lost("groups of pods are not watched: their directory went away, or too much happened")

    async def _follow(self, inotify: Inotify, lost: Lost) -> None:
        """Until the directory above all pods goes away, or events were lost."""
        async for event in inotify:
            if event.mask & Watch.Q_OVERFLOW or event.watch is None:
                return
            if event.mask & Watch.IGNORED:
                place = self._places.pop(event.watch, None)
                if place is not None and not place.path:
                    return
                continue
            if event.mask & Watch.ISDIR:
                if event.mask & Watch.CREATE:
                    self._came(inotify, event.watch, str(event.name))
                lost("")

    def _add_home(self, inotify: Inotify) -> None:
        """Watch the directory above all pods, where kubelet's root comes, and everything that is there already."""
        self._places.clear()
        self.trouble = ""
        try:
            self._places[inotify.add_watch(self.tree.directory(""), _EVENTS)] = _Place("", None)
        except OSError as error:
            self.trouble = f"groups cannot be watched: {error.strerror}; see fs.inotify.max_user_watches"
        driver = self.tree.names()
        if driver is not None:
            self._add(inotify, _Place(root_name(driver), None), fresh=False)

    def _came(self, inotify: Inotify, watch: Watched, name: str) -> None:
        place, driver = self._places.get(watch), self.tree.names()
        if place is None or driver is None:
            return
        if not place.path:
            if name == root_name(driver):
                self._add(inotify, _Place(name, None), fresh=True)
            return
        named = read_name(driver, name, place.named)
        if named is not None:
            self._add(inotify, _Place(f"{place.path}/{name}", named), fresh=True)

    def _add(self, inotify: Inotify, place: _Place, *, fresh: bool) -> None:
        """Watch a directory and those in it; what came before the watch was there is a newcomer as well."""
        layer = place.named.layer if place.named else Layer.ROOT
        if fresh and layer in {Layer.POD, Layer.CONTAINER} and self.shared:
            self.tree.confine(place.path, self.shared)
        if layer is Layer.CONTAINER:
            return
        directory, driver = self.tree.directory(place.path), self.tree.names()
        try:
            self._places[inotify.add_watch(directory, _EVENTS)] = place
            below = [entry.name for entry in directory.iterdir() if entry.is_dir()]
        except FileNotFoundError:
            return
        except OSError as error:
            self.trouble = f"{place.path} cannot be watched: {error.strerror}; see fs.inotify.max_user_watches"
            return
        for name in below:
            named = read_name(driver, name, place.named) if driver else None
            if named is not None:
                self._add(inotify, _Place(f"{place.path}/{name}", named), fresh=fresh)
