"""Which I/O queue serves each CPU of a node: read from an annotation, checked, and only ever grown.

An instance is as fast as the queues its CPUs submit to; a map that moved a queue under a running instance would
break the placement that was decided on it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from proto.cpuset import Mask, members, parse, show
from proto.errors import DpuError
from proto.reasons import Reason

ANNOTATION = "dpupool.io/io-queues"
_FIELD = f"metadata.annotations[{ANNOTATION}]"


@dataclass(frozen=True)
class QueueMap:
    """CPUs by queue; no CPU belongs to two queues."""

    queues: Mapping[int, Mask] = field(default_factory=dict)

    @cached_property
    def known(self) -> Mask:
        """Every CPU that has a queue."""
        mask = 0
        for cpus in self.queues.values():
            mask |= cpus
        return mask

    @cached_property
    def by_cpu(self) -> Mapping[int, int]:
        """The queue of each CPU."""
        return {cpu: queue for queue, cpus in self.queues.items() for cpu in members(cpus)}


NO_QUEUES = QueueMap()
"""A node that tells nothing of its queues: none is preferred."""


def parse_queue_map(text: str, existing: Mask) -> QueueMap:
    """Read the annotation: a JSON object of queue number to CPUs in the kernel's list format, ``{"0": "0-1,52"}``.

    Args:
        existing: CPUs that the node has.

    Raises:
        DpuError: INVALID naming the annotation: no such JSON, a queue that is no number, a CPU that does not exist or
            has two queues, a CPU without a queue while others have one.
    """
    try:
        table = json.loads(text)
    except ValueError as error:
        raise _wrong(f"is no JSON: {error}") from error
    if not isinstance(table, dict) or not table:
        raise _wrong("is no JSON object with at least one queue")
    queues: dict[int, Mask] = {}
    seen = 0
    for name, cpus in table.items():
        queue = _queue_number(name)
        if queue in queues:
            raise _wrong(f"names queue {queue} twice")
        if not isinstance(cpus, str):
            raise _wrong(f"gives queue {name} {cpus!r}, not a list of CPUs such as 0-1,52")
        mask = parse(cpus, field=f"{_FIELD}.{name}")
        if mask & seen:
            raise _wrong(f"gives CPU {show(mask & seen)} two queues")
        queues[queue] = mask
        seen |= mask
    if seen & ~existing:
        raise _wrong(f"names CPU {show(seen & ~existing)}, which the node does not have")
    if existing & ~seen:
        raise _wrong(f"names no queue for CPU {show(existing & ~seen)}")
    return QueueMap(dict(sorted(queues.items())))


def accept_update(old: QueueMap, new: QueueMap) -> QueueMap:
    """Take a new map in place of the old one: CPUs may be added, those already known keep their queue.

    Raises:
        DpuError: INVALID when a CPU vanished or moved; the old map stays in force.
    """
    gone = old.known & ~new.known
    if gone:
        raise _wrong(f"no longer names CPU {show(gone)}", "put it back: a map only grows")
    moved = [cpu for cpu, queue in old.by_cpu.items() if new.by_cpu[cpu] != queue]
    if moved:
        cpu = min(moved)
        raise _wrong(
            f"moves CPU {cpu} from queue {old.by_cpu[cpu]} to {new.by_cpu[cpu]}",
            "keep the queues of CPUs already known; drain the node and delete the annotation to lay it out anew",
        )
    return new


def render_queue_map(queues: QueueMap) -> str:
    """The annotation's text."""
    return json.dumps({str(queue): show(cpus) for queue, cpus in queues.queues.items()}, separators=(",", ":"))


def _queue_number(name: str) -> int:
    if not (name.isascii() and name.isdigit()):
        raise _wrong(f"names queue {name!r}, which is no number")
    return int(name)


def _wrong(what: str, remedy: str = "write the map as the node's driver reports it") -> DpuError:
    return DpuError(Reason.INVALID, f"the I/O queue map {what}", field=_FIELD, remedy=remedy)
