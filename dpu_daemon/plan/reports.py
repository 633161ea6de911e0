"""From samples to reports: what is new, what changed, what is gone. A ring of the last ones lets a reader resume."""

from collections import deque
from collections.abc import Iterable, Mapping

import msgspec

from dpu_daemon.model.usage import COUNTED, GroupDelta, Member, Report, Sampled, Usage

KEPT = 120
"""Two minutes at one a second: a coordinator's restart fits in."""

Row = tuple[int | str, ...]
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Report)


class Reporter:
    """Turns samples into reports.

    Args:
        kept: reports that a reader may still ask for; older ones are forgotten, not piled up.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._ring: deque[tuple[int, bytes]] = deque(maxlen=kept)
        """Sequence, and the report packed: 500 busy groups for two minutes are 3 MB so, and 25 as objects."""
        self._members: dict[str, Member] = {}
        self._rows: dict[int, Row] = {}
        self._next_index = 1
        self._last = Report(sequence=0, unix_ms=0)

    def take(self, sampled: Sampled, names: Mapping[str, tuple[str, str]]) -> Report:
        """The report of a sample, compared with the one before.

        Args:
            names: pod uid and container id by path.
        """
        deltas: list[GroupDelta] = []
        for path, usage in sampled.groups.items():
            member, row = self._members.get(path), _row(usage)
            if member is None:
                member = self._join(path, *names.get(path, ("", "")))
                deltas.append(_whole(member, row))
            elif row != self._rows[member.index]:
                deltas.append(GroupDelta(index=member.index, changed=_difference(self._rows[member.index], row)))
            self._rows[member.index] = row
        gone = [path for path in self._members if path not in sampled.groups]
        indices = tuple(self._leave(path) for path in gone)
        self._last = Report(
            sequence=self._last.sequence + 1,
            unix_ms=sampled.unix_ms,
            groups=tuple(deltas),
            gone=indices,
            host_cpu_percent=sampled.host_cpu_percent,
            host_memory_available_bytes=sampled.host_memory_available_bytes,
        )
        self._ring.append((self._last.sequence, _ENCODER.encode(self._last)))
        return self._last

    def after(self, sequence: int) -> Iterable[Report]:
        """Reports after a sequence, or a full one when they are not kept or the reader has none."""
        if sequence == self._last.sequence and sequence:
            return ()
        kept = [entry for entry in self._ring if entry[0] > sequence]
        if sequence and kept and kept[0][0] == sequence + 1:
            return [self._last if number == self._last.sequence else _DECODER.decode(packed) for number, packed in kept]
        return (self.full(),) if self._ring else ()

    def full(self) -> Report:
        """Everything as of the last report."""
        members = sorted(self._members.values(), key=lambda member: member.index)
        return Report(
            sequence=self._last.sequence,
            unix_ms=self._last.unix_ms,
            full=True,
            groups=tuple(_whole(member, self._rows[member.index]) for member in members),
            host_cpu_percent=self._last.host_cpu_percent,
            host_memory_available_bytes=self._last.host_memory_available_bytes,
        )

    def _join(self, path: str, pod_uid: str, container_id: str) -> Member:
        member = Member(index=self._next_index, path=path, pod_uid=pod_uid, container_id=container_id)
        self._next_index += 1
        self._members[path] = member
        return member

    def _leave(self, path: str) -> int:
        member = self._members.pop(path)
        del self._rows[member.index]
        return member.index


def _row(usage: Usage) -> Row:
    return tuple(getattr(usage, name) for name in COUNTED)


def _whole(member: Member, row: Row) -> GroupDelta:
    return GroupDelta(index=member.index, changed=dict(zip(COUNTED, row, strict=True)), member=member)


def _difference(old: Row, new: Row) -> dict[str, int | str]:
    return {name: after for name, before, after in zip(COUNTED, old, new, strict=True) if before != after}
