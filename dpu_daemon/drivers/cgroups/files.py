"""Files behind the knobs: names and units of both versions of the kernel's interface."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dpu_daemon.model.cgroup import UNLIMITED, CgroupVersion, Knob, shares_of_weight, weight_of
from proto.cpuset import parse, show

PERIOD_US = 100_000
_NO_LIMIT_V1 = 1 << 62
"""Version 1 shows a memory limit that nobody set as the largest number of whole pages."""


@dataclass(frozen=True, slots=True)
class KnobFile:
    """Where a knob is, and how its value is spelt there.

    Attributes:
        controller: hierarchy of version 1 in which the file lies.
        read: value of the file's text.
        spell: text to write.
    """

    controller: str
    name: str
    read: Callable[[str], int]
    spell: Callable[[int], str]


def _spell_cpus(mask: int) -> str:
    """An empty set is a line end: the kernel never sees a write of nothing."""
    return show(mask) or "\n"


def _quota_v1(text: str) -> int:
    quota = int(text)
    return UNLIMITED if quota < 0 else quota * 1000 // PERIOD_US


def _spell_quota_v1(milli: int) -> str:
    return str(UNLIMITED if milli == UNLIMITED else milli * PERIOD_US // 1000)


def _quota_v2(text: str) -> int:
    quota, _, period = text.strip().partition(" ")
    return UNLIMITED if quota == "max" else int(quota) * 1000 // int(period or PERIOD_US)


def _spell_quota_v2(milli: int) -> str:
    return f"{'max' if milli == UNLIMITED else milli * PERIOD_US // 1000} {PERIOD_US}"


def _memory_v1(text: str) -> int:
    limit = int(text)
    return UNLIMITED if limit >= _NO_LIMIT_V1 or limit < 0 else limit


def _memory_v2(text: str) -> int:
    return UNLIMITED if text.strip() == "max" else int(text)


FILES: dict[CgroupVersion, dict[Knob, KnobFile]] = {
    CgroupVersion.V1: {
        Knob.CPUSET: KnobFile("cpuset", "cpuset.cpus", parse, _spell_cpus),
        Knob.CPU_QUOTA: KnobFile("cpu", "cpu.cfs_quota_us", _quota_v1, _spell_quota_v1),
        Knob.CPU_SHARES: KnobFile("cpu", "cpu.shares", int, str),
        Knob.MEMORY: KnobFile("memory", "memory.limit_in_bytes", _memory_v1, str),
    },
    CgroupVersion.V2: {
        Knob.CPUSET: KnobFile("", "cpuset.cpus", parse, _spell_cpus),
        Knob.CPU_QUOTA: KnobFile("", "cpu.max", _quota_v2, _spell_quota_v2),
        Knob.CPU_SHARES: KnobFile(
            "", "cpu.weight", lambda text: shares_of_weight(int(text)), lambda shares: str(weight_of(shares))
        ),
        Knob.MEMORY: KnobFile("", "memory.max", _memory_v2, lambda limit: "max" if limit == UNLIMITED else str(limit)),
    },
}

EFFECTIVE_CPUS = {
    CgroupVersion.V1: KnobFile("cpuset", "cpuset.effective_cpus", parse, show),
    CgroupVersion.V2: KnobFile("", "cpuset.cpus.effective", parse, show),
}
MEMORY_IN_USE = {CgroupVersion.V1: "memory.usage_in_bytes", CgroupVersion.V2: "memory.current"}
DROPPABLE = {CgroupVersion.V1: "total_inactive_file", CgroupVersion.V2: "inactive_file"}
SWAP_TOO = "memory.memsw.limit_in_bytes"
"""Memory and swap together, of version 1: never below the memory limit."""
CONTROLLERS = ("cpuset", "cpu", "memory")


def detect(mount: Path) -> CgroupVersion:
    """The version that is mounted: 2 shows its controllers in the root."""
    return CgroupVersion.V2 if (mount / "cgroup.controllers").exists() else CgroupVersion.V1
