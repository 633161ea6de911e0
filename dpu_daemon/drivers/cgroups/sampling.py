"""Samples what groups use: counters that move every second each time, the others in turns.

Every read is a system call into the kernel's memory; at 500 groups they are the whole cost. So the two files that
matter for scaling stay open, and the rest of a group is read in every tenth round, another tenth each time.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from dpu_daemon.drivers.cgroups.tree import CgroupTree
from dpu_daemon.model.cgroup import UNLIMITED, CgroupVersion, Group, Hierarchy, Layer
from dpu_daemon.model.usage import Sampled, Usage
from proto.cpuset import show

ROUNDS = 10
BUFFER = 8192
_NS_PER_US = 1000


class _Gauge:
    """One group: its open files, and what it used last."""

    def __init__(self, version: CgroupVersion, directory: Callable[[str], Path], turn: int) -> None:
        self._version = version
        v2 = version is CgroupVersion.V2
        self._homes = {name: str(directory("" if v2 else name)) for name in ("cpu", "memory", "blkio")}
        self.turn = turn
        self.usage = Usage()
        self._droppable = 0
        self._cpu = _open(directory("" if v2 else "cpuacct") / ("cpu.stat" if v2 else "cpuacct.usage"))
        self._memory = _open(directory("" if v2 else "memory") / ("memory.current" if v2 else "memory.usage_in_bytes"))

    def close(self) -> None:
        for descriptor in (self._cpu, self._memory):
            if descriptor >= 0:
                os.close(descriptor)

    def read_hot(self) -> None:
        """CPU time and memory; a group that just ended keeps its last values."""
        usage = self.usage
        try:
            if self._version is CgroupVersion.V2:
                self._read_cpu_stat(_lines(os.pread(self._cpu, BUFFER, 0)))
            else:
                usage.cpu_usage_us = int(os.pread(self._cpu, BUFFER, 0)) // _NS_PER_US
            usage.memory_bytes = max(0, int(os.pread(self._memory, BUFFER, 0)) - self._droppable)
        except (OSError, ValueError):
            return

    def _read_cpu_stat(self, stat: dict[bytes, int]) -> None:
        usage = self.usage
        usage.cpu_usage_us = stat.get(b"usage_usec", 0)
        usage.throttled_us = stat.get(b"throttled_usec", 0)
        usage.throttled_periods = stat.get(b"nr_throttled", 0)

    def read_cold(self) -> None:
        """The rest: events, pressure, I/O, file pages that do not count as in use."""
        usage, v2, memory = self.usage, self._version is CgroupVersion.V2, self._homes["memory"]
        self._droppable = _one(_text(f"{memory}/memory.stat"), b"\ninactive_file " if v2 else b"\ntotal_inactive_file ")
        if not v2:
            cpu = _stat(f"{self._homes['cpu']}/cpu.stat")
            usage.throttled_us = cpu.get(b"throttled_time", 0) // _NS_PER_US
            usage.throttled_periods = cpu.get(b"nr_throttled", 0)
            usage.oom_kills = _stat(f"{memory}/memory.oom_control").get(b"oom_kill", 0)
            self._read_io_v1()
            return
        events = _stat(f"{memory}/memory.events")
        usage.oom_kills, usage.memory_high_events = events.get(b"oom_kill", 0), events.get(b"high", 0)
        usage.cpu_pressure_us = _pressure(f"{memory}/cpu.pressure")
        usage.memory_pressure_us = _pressure(f"{memory}/memory.pressure")
        usage.io_pressure_us = _pressure(f"{memory}/io.pressure")
        self._read_io_v2(f"{memory}/io.stat")

    def _read_io_v1(self) -> None:
        text = _text(f"{self._homes['blkio']}/blkio.throttle.io_service_bytes_recursive")
        read = write = 0
        for line in text.splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in {b"Read", b"Write"}:
                if words[1] == b"Read":
                    read += int(words[2])
                else:
                    write += int(words[2])
        self.usage.io_read_bytes, self.usage.io_write_bytes = read, write

    def _read_io_v2(self, file: str) -> None:
        read = write = 0
        for line in _text(file).splitlines():
            for word in line.split():
                if word.startswith(b"rbytes="):
                    read += int(word[7:])
                elif word.startswith(b"wbytes="):
                    write += int(word[7:])
        self.usage.io_read_bytes, self.usage.io_write_bytes = read, write


class UsageSampler:
    """Samples all pods and containers of a host.

    Args:
        tree: where the groups are.
        clock: Unix time in seconds.
    """

    def __init__(self, tree: CgroupTree, clock: Callable[[], float] = time.time) -> None:
        self._tree = tree
        self._clock = clock
        self._gauges: dict[str, _Gauge] = {}
        self._round = 0
        self._names: dict[str, tuple[str, str]] = {}
        psutil.cpu_percent()

    def follow(self, seen: Hierarchy) -> None:
        """Take the groups that there are now; opens and closes files, so call it when groups came or went."""
        wanted = {path: group for path, group in seen.groups.items() if group.layer in {Layer.POD, Layer.CONTAINER}}
        for path in [path for path in self._gauges if path not in wanted]:
            self._gauges.pop(path).close()
        for path, group in wanted.items():
            if path not in self._gauges:
                self._gauges[path] = _Gauge(self._tree.version, self._finder(path), len(self._gauges) % ROUNDS)
                self._gauges[path].read_cold()
            _take_settings(self._gauges[path].usage, group)
        self._names = {path: (group.pod_uid, group.container_id) for path, group in wanted.items()}

    def names(self) -> dict[str, tuple[str, str]]:
        """Pod uid and container id of every group sampled."""
        return self._names

    def sample(self) -> Sampled:
        """One round."""
        self._round = (self._round + 1) % ROUNDS
        for gauge in self._gauges.values():
            if gauge.turn == self._round:
                gauge.read_cold()
            gauge.read_hot()
        return Sampled(
            unix_ms=int(self._clock() * 1000),
            groups={path: gauge.usage for path, gauge in self._gauges.items()},
            host_cpu_percent=psutil.cpu_percent(),
            host_memory_available_bytes=psutil.virtual_memory().available,
        )

    def close(self) -> None:
        """Close every file."""
        for gauge in self._gauges.values():
            gauge.close()
        self._gauges.clear()

    def _finder(self, path: str) -> Callable[[str], Path]:
        return lambda controller: self._tree.directory(path, controller or "cpuset")


def _take_settings(usage: Usage, group: Group) -> None:
    usage.cpuset = show(group.running_on)
    usage.cpu_limit_milli = group.quota_milli
    usage.memory_limit_bytes = 0 if group.memory_bytes == UNLIMITED else group.memory_bytes


def _open(file: Path | str) -> int:
    try:
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _text(file: str) -> bytes:
    descriptor = _open(file)
    if descriptor < 0:
        return b""
    try:
        return os.read(descriptor, BUFFER)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _one(text: bytes, name: bytes) -> int:
    """One number of a long file, without looking at the others."""
    _, found, rest = text.partition(name)
    return int(rest.partition(b"\n")[0]) if found else 0


def _stat(file: str) -> dict[bytes, int]:
    return _lines(_text(file))


def _lines(text: bytes) -> dict[bytes, int]:
    """Numbers by name, of lines ``name number``."""
    return dict(_pairs(text))


def _pairs(text: bytes) -> Iterator[tuple[bytes, int]]:
    for line in text.splitlines():
        name, _, number = line.partition(b" ")
        if number.isdigit():
            yield name, int(number)


def _pressure(file: str) -> int:
    """Microseconds in which some task waited."""
    for line in _text(file).splitlines():
        if line.startswith(b"some ") and b"total=" in line:
            return int(line.rpartition(b"total=")[2])
    return 0
