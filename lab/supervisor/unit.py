"""What the supervisor is told about each process, and what it tells about it."""

import enum
import graphlib
from collections.abc import Iterable

import msgspec

from proto.errors import DpuError
from proto.reasons import Reason


class ReadyWhen(enum.Enum):
    """How a process shows that it is ready."""

    STARTED = "started"
    NOTIFIED = "notified"  # READY=1 on NOTIFY_SOCKET
    PATH = "path"  # the path, usually a socket, appears


class UnitState(enum.Enum):
    """Where a unit is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Listener(msgspec.Struct, frozen=True):
    """A TCP socket that the supervisor opens in its own namespace and passes on (LISTEN_FDS).

    It stays open while the process restarts: clients wait in the backlog instead of being refused.
    """

    name: str
    address: str
    port: int


class Unit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process.

    Attributes:
        name: unique; also the name of its log.
        argv: program and arguments.
        netns: network namespace to run in; empty: the supervisor's own.
        environment: on top of a small clean one.
        after: units that must have been ready once before the first start.
        ready: how readiness shows; ready_path: for PATH.
        ready_timeout_s: a start that takes longer is killed and tried again.
        watchdog_s: a process that stays silent (WATCHDOG=1) for so long is killed; 0: no watchdog.
        stop_timeout_s: from SIGTERM to SIGKILL.
        listeners: sockets passed on.
        stale: paths removed before each start, sockets of a killed predecessor.
    """

    name: str
    argv: tuple[str, ...]
    netns: str = ""
    environment: dict[str, str] = {}
    after: tuple[str, ...] = ()
    ready: ReadyWhen = ReadyWhen.STARTED
    ready_path: str = ""
    ready_timeout_s: float = 30.0
    watchdog_s: float = 0.0
    stop_timeout_s: float = 10.0
    listeners: tuple[Listener, ...] = ()
    stale: tuple[str, ...] = ()


class UnitStatus(msgspec.Struct, frozen=True):
    """What is known about a unit now.

    Attributes:
        pid: 0 when there is no process.
        starts: how often it was started.
        message: last STATUS= of the process, or why it is not ready.
        log: path of its log.
    """

    name: str
    state: UnitState
    pid: int
    starts: int
    message: str
    log: str


class SupervisorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file that a supervisor is started with.

    Attributes:
        run_dir: sockets and process ids.
        log_dir: one log per unit, and supervisor.log.
        units: in no particular order.
    """

    run_dir: str
    log_dir: str
    units: tuple[Unit, ...]


def check_units(units: Iterable[Unit]) -> None:
    """Refuse unit sets that cannot start.

    Raises:
        DpuError: INVALID; a name is used twice, or ``after`` names an unknown unit or goes in a circle.
    """
    known: dict[str, Unit] = {}
    for unit in units:
        if unit.name in known:
            raise DpuError(Reason.INVALID, f"two units are called {unit.name}", field="units", remedy="rename one")
        known[unit.name] = unit
    for unit in known.values():
        for name in unit.after:
            if name not in known:
                message = f"unit {unit.name} waits for {name}, which does not exist"
                raise DpuError(Reason.INVALID, message, field=f"units.{unit.name}.after", remedy="correct the name")
    try:
        graphlib.TopologicalSorter({unit.name: unit.after for unit in known.values()}).prepare()
    except graphlib.CycleError as error:
        circle = " -> ".join(error.args[1])
        message = f"units wait for each other: {circle}"
        raise DpuError(Reason.INVALID, message, field="units", remedy="break the circle") from error
