"""Counters of a bdev, ticks turned into microseconds."""

import msgspec

from dpu_daemon.drivers.spdk.rpc import Release
from dpu_daemon.model.disk import DiskStats

MANY_SINCE = (26, 1)
"""From here on the names come in a list; from 26.05 a single name is refused."""


class _Counters(msgspec.Struct, frozen=True):
    name: str
    bytes_read: int = 0
    num_read_ops: int = 0
    bytes_written: int = 0
    num_write_ops: int = 0
    bytes_unmapped: int = 0
    num_unmap_ops: int = 0
    read_latency_ticks: int = 0
    write_latency_ticks: int = 0
    io_error: dict[str, int] = {}


class IoStat(msgspec.Struct, frozen=True):
    """A reply of bdev_get_iostat."""

    tick_rate: int
    bdevs: tuple[_Counters, ...] = ()


def iostat_params(release: Release | None, bdev: str) -> dict[str, object]:
    """What this release wants to be asked."""
    many = release is None or release.number >= MANY_SINCE
    return {"names": [bdev]} if many else {"name": bdev}


def stats_of(reply: IoStat) -> DiskStats:
    """The counters of the one bdev asked for."""
    if not reply.bdevs:
        return DiskStats()
    one, per_second = reply.bdevs[0], max(reply.tick_rate, 1)
    return DiskStats(
        read_ops=one.num_read_ops,
        read_bytes=one.bytes_read,
        write_ops=one.num_write_ops,
        write_bytes=one.bytes_written,
        unmap_ops=one.num_unmap_ops,
        unmap_bytes=one.bytes_unmapped,
        failed_ops=sum(one.io_error.values()),
        read_latency_us=one.read_latency_ticks * 1_000_000 // per_second,
        write_latency_us=one.write_latency_ticks * 1_000_000 // per_second,
    )
