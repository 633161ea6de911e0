"""The kernel's table of mounts, read; nothing of it is touched, so a dead file system holds nobody up."""

import os
from dataclasses import dataclass
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of proc(5), mountinfo.

    Attributes:
        target: where.
        device: ``major:minor`` of the file system.
        root: which part of the file system.
        options: of this mount.
        kind: of the file system.
        super_options: of the file system.
        shared: new mounts below it appear in other namespaces, too.
    """

    target: str
    device: str
    root: str
    options: frozenset[str]
    kind: str
    super_options: frozenset[str]
    shared: bool

    @property
    def read_only(self) -> bool:
        return "ro" in self.options or "ro" in self.super_options

    @property
    def broken(self) -> bool:
        """The mount may be written, and its file system went read-only: the kernel does that after an error."""
        return "ro" not in self.options and "ro" in self.super_options


def read(file: Path = MOUNTINFO) -> tuple[MountEntry, ...]:
    """All mounts, in the order in which they were made."""
    return tuple(_entry(line.split(b" ")) for line in file.read_bytes().splitlines())


def resolved(path: str) -> str:
    """A path as the kernel's table says it: kubelet's folder may be a link. The last part is not looked at."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118 (pathlib would look at the last part)


def topmost(entries: tuple[MountEntry, ...], path: str) -> MountEntry | None:
    """What is seen at exactly this path."""
    return next((entry for entry in reversed(entries) if entry.target == path), None)


def around(entries: tuple[MountEntry, ...], path: str) -> MountEntry | None:
    """The mount that a path is on."""
    inside = [entry for entry in entries if Path(path).is_relative_to(entry.target)]
    return max(reversed(inside), key=lambda entry: len(entry.target), default=None)


def _entry(words: list[bytes]) -> MountEntry:
    dash = words.index(b"-")
    return MountEntry(
        target=_unescape(words[4]),
        device=words[2].decode(),
        root=_unescape(words[3]),
        options=frozenset(words[5].decode().split(",")),
        kind=words[dash + 1].decode(),
        super_options=frozenset(os.fsdecode(words[dash + 3]).split(",")) if len(words) > dash + 3 else frozenset(),
        shared=any(word.startswith(b"shared:") for word in words[6:dash]),
    )


def _unescape(word: bytes) -> str:
    return os.fsdecode(word.decode("unicode_escape").encode("latin-1")) if b"\\" in word else os.fsdecode(word)
