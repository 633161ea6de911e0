"""Limits of a disk as SPDK keeps them: whole thousands of requests, whole mebibytes."""

import msgspec

from dpu_daemon.drivers.qsd.throttle import check
from dpu_daemon.model.disk import Qos
from proto.errors import DpuError
from proto.reasons import Reason

IOPS_STEP = 1000
MIB = 1 << 20


class RateLimits(msgspec.Struct, frozen=True):
    """``assigned_rate_limits`` of a bdev; 0 is unlimited."""

    rw_ios_per_sec: int = 0
    rw_mbytes_per_sec: int = 0
    r_mbytes_per_sec: int = 0
    w_mbytes_per_sec: int = 0


def effective(qos: Qos) -> Qos:
    """What SPDK makes of these limits: each is rounded up."""
    return Qos(
        iops=_up(qos.iops, IOPS_STEP),
        bytes_per_s=_up(qos.bytes_per_s, MIB),
        read_iops=qos.read_iops,
        write_iops=qos.write_iops,
        read_bytes_per_s=_up(qos.read_bytes_per_s, MIB),
        write_bytes_per_s=_up(qos.write_bytes_per_s, MIB),
    )


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def limits_of(qos: Qos) -> dict[str, int]:
    """All four limits: one that is not given would keep an older value.

    Raises:
        DpuError: INVALID for a limit that cannot be, UNSUPPORTED for requests per second of one direction.
    """
    check(qos)
    if qos.read_iops or qos.write_iops:
        field = "qos.read_iops" if qos.read_iops else "qos.write_iops"
        message = "SPDK limits the requests of a disk together, not those of one direction"
        raise DpuError(Reason.UNSUPPORTED, message, field=field, remedy="limit iops, or the bytes of each direction")
    even = effective(qos)
    return {
        "rw_ios_per_sec": even.iops,
        "rw_mbytes_per_sec": even.bytes_per_s // MIB,
        "r_mbytes_per_sec": even.read_bytes_per_s // MIB,
        "w_mbytes_per_sec": even.write_bytes_per_s // MIB,
    }


def qos_of(limits: RateLimits) -> Qos:
    """What a bdev is limited to now."""
    return Qos(
        iops=limits.rw_ios_per_sec,
        bytes_per_s=limits.rw_mbytes_per_sec * MIB,
        read_bytes_per_s=limits.r_mbytes_per_sec * MIB,
        write_bytes_per_s=limits.w_mbytes_per_sec * MIB,
    )
