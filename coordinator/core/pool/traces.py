"""Public cluster traces as pods and machines, read from the lines of their CSV files."""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from coordinator.core.pool.scheduling import PodShape
from proto.errors import DpuError
from proto.reasons import Reason

MIB = 1024**2
GIB = 1024**3
GPU = "nvidia.com/gpu"


class TraceKind(Enum):
    """Which published trace a file is, told by its header."""

    OPENB_PODS = "openb_pod_list"
    OPENB_NODES = "openb_node_list"
    DLRM = "disaggregated_DLRM_trace"


@dataclass(frozen=True, slots=True)
class TracePod:
    """One instance of a trace.

    Attributes:
        cpu_milli, memory_bytes, gpus: what it requests.
        created_s, deleted_s: seconds since the trace began; None when the trace does not say.
        application: the workload it belongs to, its own name where the trace has none.
        role: kind of instance, such as CN (processors only) or HN (with an accelerator) in the DLRM trace.
        at_most_per_node: instances of the application that may share a machine, 0 for any number.
    """

    name: str
    cpu_milli: int
    memory_bytes: int
    gpus: int = 0
    created_s: float | None = None
    deleted_s: float | None = None
    application: str = ""
    role: str = ""
    at_most_per_node: int = 0

    def shape(self, *, gpus: bool = False) -> PodShape:
        """The pod as the scheduler would see it, its accelerators left out unless asked for."""
        requests = {"cpu": self.cpu_milli, "memory": self.memory_bytes, GPU: self.gpus if gpus else 0}
        listed = tuple(sorted((name, amount) for name, amount in requests.items() if amount))
        return PodShape(namespace="trace", requests=listed, packing=(self.cpu_milli, self.memory_bytes))


@dataclass(frozen=True, slots=True)
class TraceMachine:
    """One machine of a trace."""

    name: str
    cpu_milli: int
    memory_bytes: int
    gpus: int = 0
    model: str = ""


Row = Mapping[str, str]
_HEADERS: dict[TraceKind, set[str]] = {
    TraceKind.OPENB_PODS: {"name", "cpu_milli", "memory_mib", "creation_time"},
    TraceKind.OPENB_NODES: {"sn", "cpu_milli", "memory_mib"},
    TraceKind.DLRM: {"instance_sn", "role", "cpu_request", "memory_request"},
}


def recognise(header: str) -> TraceKind:
    """Which trace a header line belongs to.

    Raises:
        DpuError: UNSUPPORTED when it is none of the known ones.
    """
    columns = {column.strip() for column in header.split(",")}
    for kind, needed in _HEADERS.items():
        if needed <= columns:
            return kind
    known = "; ".join(f"{kind.value} ({', '.join(sorted(needed))})" for kind, needed in _HEADERS.items())
    raise DpuError(Reason.UNSUPPORTED, "the columns are of no known trace", field="header", remedy=f"known: {known}")


def read_pods(lines: Iterable[str]) -> list[TracePod]:
    """The instances of a pod trace.

    Raises:
        DpuError: UNSUPPORTED for another file, INVALID naming line and column for a malformed or negative number.
    """
    rows = csv.DictReader(lines)
    kind = recognise(",".join(rows.fieldnames or []))
    if kind is TraceKind.OPENB_NODES:
        raise DpuError(Reason.INVALID, "this file lists machines", field="header", remedy="give the list of pods")
    convert = _openb_pod if kind is TraceKind.OPENB_PODS else _dlrm_pod
    return [convert(row, _Reader(row, line)) for line, row in enumerate(rows, start=2)]


def read_machines(lines: Iterable[str]) -> list[TraceMachine]:
    """The machines of a node trace.

    Raises:
        DpuError: as ``read_pods``.
    """
    rows = csv.DictReader(lines)
    if recognise(",".join(rows.fieldnames or [])) is not TraceKind.OPENB_NODES:
        raise DpuError(Reason.INVALID, "this file lists pods", field="header", remedy="give the list of machines")
    return [_machine(row, _Reader(row, line)) for line, row in enumerate(rows, start=2)]


class _Reader:
    """Reads numbers of one row; errors name line and column."""

    def __init__(self, row: Row, line: int) -> None:
        self._row, self._line = row, line

    def number(self, column: str, scale: float = 1) -> int:
        return int(self._read(column, lambda text: round(float(text) * scale)) or 0)

    def time(self, column: str) -> float | None:
        return self._read(column, float)

    def _read(self, column: str, convert: Callable[[str], float]) -> float | None:
        text = (self._row.get(column) or "").strip()
        if not text:
            return None
        try:
            value = convert(text)
        except (ValueError, OverflowError):
            value = -1
        if value < 0 and not (column == "max_instance_per_node" and value == -1):
            where = f"line {self._line}, {column}"
            raise DpuError(Reason.INVALID, f"{text!r} is not a size or time", field=where, remedy="correct the file")
        return value


def _openb_pod(row: Row, read: _Reader) -> TracePod:
    return TracePod(
        name=row["name"],
        cpu_milli=read.number("cpu_milli"),
        memory_bytes=read.number("memory_mib", MIB),
        gpus=read.number("num_gpu"),
        created_s=read.time("creation_time"),
        deleted_s=read.time("deletion_time"),
        application=row["name"],
    )


def _dlrm_pod(row: Row, read: _Reader) -> TracePod:
    return TracePod(
        name=row["instance_sn"],
        cpu_milli=read.number("cpu_request", 1000),
        memory_bytes=read.number("memory_request", GIB),
        gpus=read.number("gpu_request"),
        created_s=read.time("creation_time"),
        deleted_s=read.time("deletion_time"),
        application=row.get("app_name") or row["instance_sn"],
        role=row["role"],
        at_most_per_node=max(read.number("max_instance_per_node"), 0),
    )


def _machine(row: Row, read: _Reader) -> TraceMachine:
    cpu_milli, memory = read.number("cpu_milli"), read.number("memory_mib", MIB)
    return TraceMachine(row["sn"], cpu_milli, memory, read.number("gpu"), row.get("model") or "")
