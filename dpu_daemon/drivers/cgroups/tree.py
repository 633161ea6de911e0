"""Groups of this host's pods, read from and written to the kernel's file system."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from dpu_daemon.drivers.cgroups.files import (
    CONTROLLERS,
    DROPPABLE,
    EFFECTIVE_CPUS,
    FILES,
    MEMORY_IN_USE,
    SWAP_TOO,
    KnobFile,
    detect,
)
from dpu_daemon.drivers.cgroups.layout import Named, NameDriver, read_name, root_name
from dpu_daemon.model.cgroup import UNLIMITED, CgroupVersion, Group, Hierarchy, Knob, Layer, Write
from proto.cpuset import Mask, parse
from proto.errors import DpuError
from proto.reasons import Reason

READ_BYTES = 16_384
"""Longer than any file that is read; memory.stat is the longest, with some 3,000."""


class CgroupTree:
    """The groups below ``kubepods`` of one mount.

    Args:
        mount: where cgroups are mounted, ``/sys/fs/cgroup``.
        above: directory that holds kubelet's root, such as ``kubelet`` in a container; empty for the mount itself.
        online: file that lists the CPUs that are online.
        enable: turn controllers on for pods where they are off (version 2).

    A look costs some file reads per group and no waiting: the kernel answers from memory.
    """

    def __init__(
        self,
        mount: Path,
        *,
        above: str = "",
        online: Path = Path("/sys/devices/system/cpu/online"),
        enable: bool = False,
    ) -> None:
        self.mount = mount
        self._above = above
        self._online = online
        self._enable = enable
        self.version = detect(mount)
        self.lacking: dict[str, str] = {}
        """Groups without all controllers, and why they stay so; as of the last look."""
        self._files = FILES[self.version]
        self._top = str(mount)
        self._droppable = f"\n{DROPPABLE[self.version]} ".encode()

    def online(self) -> Mask:
        """CPUs that the kernel runs tasks of pods on: those online, less those kept from the group above all pods."""
        online = parse(self._online.read_text(encoding="ascii"), field=str(self._online))
        return online & self.ceiling() if self._above else online

    def ceiling(self) -> Mask:
        """CPUs of the group above all pods; every CPU where it does not say."""
        try:
            return self._number("", EFFECTIVE_CPUS[self.version]) or -1
        except FileNotFoundError:
            return -1

    def names(self) -> NameDriver | None:
        """How groups are named here; None while kubelet has not made any."""
        for driver in NameDriver:
            if self.directory(root_name(driver)).is_dir():
                return driver
        return None

    def look(self) -> Hierarchy:
        """Every group of a pod that there is now; one that goes away meanwhile is left out."""
        driver = self.names()
        if driver is None:
            return Hierarchy(version=self.version)
        groups: dict[str, Group] = {}
        lacking: dict[str, str] = {}
        for path, parent, named in self._walk(driver, root_name(driver)):
            try:
                groups[path] = self._read_enabled(path, parent, named, lacking)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise
        self.lacking = lacking
        return Hierarchy(groups=groups, version=self.version)

    def _read_enabled(self, path: str, parent: str, named: Named | None, lacking: dict[str, str]) -> Group:
        """Read a group; where files are missing because a controller is off for it, turn it on and read again.

        Raises:
            FileNotFoundError: the group is gone, or stays without the controller, which `lacking` then tells.
        """
        try:
            return self._read(path, parent, named)
        except FileNotFoundError:
            if self.version is CgroupVersion.V1 or not (self.directory(path) / "cgroup.procs").exists():
                raise
        why = enable_controllers(self.mount, self.directory(path)) if self._enable else "groups.enable is off"
        if why:
            lacking[path] = why
        return self._read(path, parent, named)

    def write(self, write: Write) -> None:
        """Set one knob.

        Raises:
            DpuError: NOT_FOUND when the group is gone; IN_USE when the kernel refuses; FORBIDDEN without the right.
        """
        file = self._files[write.knob]
        directory = self.directory(write.path, file.controller)
        if write.knob is Knob.MEMORY and self.version is CgroupVersion.V1:
            self._set_memory_v1(write, directory)
            return
        value = write.value
        if write.knob is Knob.CPUSET and not value:
            value = self._inherited(write.path)
        self._put(directory / file.name, file.spell(value), write)

    def _inherited(self, path: str) -> Mask:
        """What a group without a set of its own runs on; the kernel takes no empty one while tasks are there."""
        try:
            return self._number(path.rpartition("/")[0], EFFECTIVE_CPUS[self.version])
        except FileNotFoundError:
            return 0

    def confine(self, path: str, mask: Mask) -> bool:
        """Take all CPUs but those of `mask` from a group that just came; whether the kernel took it.

        Nothing is written where that would leave it none, or where its files are not there yet.
        """
        file = self._files[Knob.CPUSET]
        directory = self.directory(path, file.controller)
        try:
            now = file.read((directory / file.name).read_text(encoding="ascii"))
            now = now or EFFECTIVE_CPUS[self.version].read(
                (directory.parent / EFFECTIVE_CPUS[self.version].name).read_text(encoding="ascii")
            )
            if not now & mask or now & ~mask == 0:
                return False
            (directory / file.name).write_text(file.spell(now & mask), encoding="ascii")
        except (OSError, ValueError):
            return False
        return True

    def value(self, path: str, knob: Knob) -> int:
        """What a knob is set to now.

        Raises:
            DpuError: NOT_FOUND when the group is gone.
        """
        file = self._files[knob]
        try:
            return self._number(path, file)
        except FileNotFoundError:
            raise _gone(path) from None

    def _walk(self, driver: NameDriver, root: str) -> Iterator[tuple[str, str, Named | None]]:
        """Path, parent and meaning of every group, parents first. Deeper than containers is the containers' own."""
        pending: list[tuple[str, str, Named | None]] = [(root, "", None)]
        while pending:
            path, parent, named = pending.pop()
            yield path, parent, named
            if named is not None and named.layer is Layer.CONTAINER:
                continue
            try:
                with os.scandir(self._home(path, "cpuset")) as entries:
                    below = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            except FileNotFoundError:
                continue
            for name in below:
                meaning = read_name(driver, name, named)
                if meaning is not None:
                    pending.append((f"{path}/{name}", path, meaning))

    def _read(self, path: str, parent: str, named: Named | None) -> Group:
        return Group(
            path=path,
            parent=parent,
            layer=named.layer if named else Layer.ROOT,
            cpuset=self._number(path, self._files[Knob.CPUSET]),
            effective=self._number(path, EFFECTIVE_CPUS[self.version]),
            quota_milli=self._number(path, self._files[Knob.CPU_QUOTA]),
            shares=self._number(path, self._files[Knob.CPU_SHARES]),
            memory_bytes=self._number(path, self._files[Knob.MEMORY]),
            memory_used_bytes=self._used(path),
            qos=named.qos if named else None,
            pod_uid=named.pod_uid if named else "",
            container_id=named.container_id if named else "",
        )

    def _number(self, path: str, file: KnobFile) -> int:
        return file.read(_text(f"{self._home(path, file.controller)}/{file.name}").decode("ascii"))

    def _used(self, path: str) -> int:
        """Memory in use, less file pages that the kernel drops when it needs room."""
        home = self._home(path, "memory")
        used = int(_text(f"{home}/{MEMORY_IN_USE[self.version]}"))
        _, found, rest = _text(f"{home}/memory.stat").partition(self._droppable)
        return max(0, used - int(rest.partition(b"\n")[0])) if found else used

    def _home(self, path: str, controller: str) -> str:
        """The directory of a group as text: a look at 500 groups opens 4,000 files, and paths were most of its cost."""
        parts = self._top if self.version is CgroupVersion.V2 else f"{self._top}/{controller}"
        return f"{parts}/{self._above}/{path}" if self._above else f"{parts}/{path}"

    def _set_memory_v1(self, write: Write, directory: Path) -> None:
        """Memory and swap together never lie below memory: they go first when growing, last when shrinking."""
        limit, both = directory / self._files[Knob.MEMORY].name, directory / SWAP_TOO
        steps = [limit, both] if both.exists() else [limit]
        if write.value == UNLIMITED or write.before != UNLIMITED < write.value > write.before:
            steps.reverse()
        for file in steps:
            self._put(file, str(write.value), write)

    def _put(self, file: Path, text: str, write: Write) -> None:
        try:
            with file.open("w", encoding="ascii") as opened:
                opened.write(text)
        except FileNotFoundError:
            raise _gone(write.path) from None
        except PermissionError as error:
            raise DpuError(
                Reason.FORBIDDEN, f"{file}: {error.strerror}", field=write.knob.value, remedy="run the daemon as root"
            ) from error
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise _gone(write.path) from None
            raise DpuError(
                Reason.IN_USE,
                f"the kernel refuses {text!r} for {write.knob.value} of {write.path}: {error.strerror}",
                field=write.knob.value,
                remedy="look at the groups above and below it: a parent covers its children",
            ) from error

    def directory(self, path: str, controller: str = "cpuset") -> Path:
        """Where a group is; version 1 has one for each controller."""
        if self.version is CgroupVersion.V2:
            return self.mount / self._above / path
        return self.mount / controller / self._above / path


def check_controllers(mount: Path) -> list[str]:
    """What the host's cgroups lack for this daemon, in sentences; empty when they will do."""
    if detect(mount) is CgroupVersion.V2:
        there = set((mount / "cgroup.controllers").read_text(encoding="ascii").split())
    else:
        there = {name for name in CONTROLLERS if (mount / name).is_dir()}
    return [f"controller {name} is not there" for name in CONTROLLERS if name not in there]


def _text(path: str) -> bytes:
    """A file of the kernel, which hands out each whole in one read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, READ_BYTES)
    finally:
        os.close(descriptor)


def enable_controllers(mount: Path, group: Path) -> str:
    """Turn on for a group of version 2 the controllers that this daemon works with, from the top down.

    Returns:
        Why one could not be, as a sentence; empty when all are on.
    """
    steps = [mount, *(mount.joinpath(*group.relative_to(mount).parts[:depth]) for depth in range(1, 64))]
    for step in steps[: steps.index(group)]:
        control = step / "cgroup.subtree_control"
        try:
            on = set(control.read_text(encoding="ascii").split())
            if not on.issuperset(CONTROLLERS):
                control.write_text(" ".join(f"+{name}" for name in CONTROLLERS), encoding="ascii")
        except OSError as error:
            return f"{control} does not take {', '.join(CONTROLLERS)}: {error.strerror}"
    return ""


def _gone(path: str) -> DpuError:
    return DpuError(Reason.NOT_FOUND, f"there is no group {path}", field="pod", remedy="the container ended")
