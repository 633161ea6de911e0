"""Limits of a disk, as our model says them and as a throttle-group holds them."""

from collections.abc import Mapping

from dpu_daemon.model.disk import Qos
from proto.errors import DpuError
from proto.reasons import Reason

KEYS = {
    "iops-total": "iops",
    "bps-total": "bytes_per_s",
    "iops-read": "read_iops",
    "iops-write": "write_iops",
    "bps-read": "read_bytes_per_s",
    "bps-write": "write_bytes_per_s",
}
"""QEMU's names to ours."""

HIGHEST = 10**15
"""QEMU's own upper bound of each value."""


def limits_of(qos: Qos) -> dict[str, int]:
    """The whole property: setting it merges, and a key left out would keep an older limit.

    Raises:
        DpuError: INVALID for a limit that cannot be, or a total beside its own split.
    """
    check(qos)
    limits = {"iops-size": 0}
    for theirs, ours in KEYS.items():
        limits |= {theirs: getattr(qos, ours), f"{theirs}-max": 0, f"{theirs}-max-length": 1}
    return limits


def qos_of(limits: Mapping[str, int]) -> Qos:
    """What a throttle-group enforces now."""
    return Qos(**{ours: int(limits.get(theirs, 0)) for theirs, ours in KEYS.items()})


def check(qos: Qos) -> None:
    """Refuses what QEMU would refuse, but names the field."""
    for name in KEYS.values():
        if not 0 <= getattr(qos, name) <= HIGHEST:
            raise DpuError(
                Reason.INVALID,
                f"a limit of {getattr(qos, name)} is not possible",
                field=f"qos.{name}",
                remedy=f"give 0 (unlimited) to {HIGHEST}",
            )
    if (qos.iops and (qos.read_iops or qos.write_iops)) or (
        qos.bytes_per_s and (qos.read_bytes_per_s or qos.write_bytes_per_s)
    ):
        raise DpuError(
            Reason.INVALID,
            "a total limit and split limits exclude each other",
            field="qos",
            remedy="give the total, or reads and writes apart",
        )
