"""The chassis' memory: one small JSON file, replaced atomically, that a restarted chassis goes on from."""

import enum
import os
from pathlib import Path

import msgspec
import structlog

from lab.chassis.slots import Function, FunctionSpec, Kind

log = structlog.get_logger()


class BootTarget(enum.Enum):
    """Redfish's BootSourceOverrideTarget, as far as this server has such sources."""

    NONE = "None"
    PXE = "Pxe"
    CD = "Cd"
    HDD = "Hdd"


class OverrideEnabled(enum.Enum):
    """Redfish's BootSourceOverrideEnabled."""

    DISABLED = "Disabled"
    ONCE = "Once"
    CONTINUOUS = "Continuous"


class BootOverride(msgspec.Struct, frozen=True):
    """Where the next boot goes instead of the disks' own order."""

    target: BootTarget = BootTarget.NONE
    enabled: OverrideEnabled = OverrideEnabled.DISABLED

    @property
    def effective(self) -> BootTarget:
        """The target that counts now."""
        return BootTarget.NONE if self.enabled is OverrideEnabled.DISABLED else self.target


class State(msgspec.Struct, frozen=True):
    """Everything that is kept.

    Attributes:
        boot: the override wanted for boots to come.
        booted_from: the override that the running QEMU was started with.
        media: URI of the inserted CD image; empty: none.
        restart_pending: a graceful restart was asked: power on again as soon as the host is off.
        powered_on_at: Unix time of the last power-on, seconds.
    """

    disks: dict[int, Function] = {}
    nics: dict[int, Function] = {}
    boot: BootOverride = BootOverride()
    booted_from: BootTarget = BootTarget.NONE
    media: str = ""
    restart_pending: bool = False
    powered_on_at: float = 0.0


class Record:
    """The state and its file; every change is on disk before the call returns.

    Writing is synchronous on purpose: the file is a few KiB, and no other task may see or build on a
    state that a crash would take back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.state = self._read()

    def _read(self) -> State:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except (msgspec.DecodeError, UnicodeDecodeError) as failure:
            aside = self._path.with_suffix(".corrupt")
            self._path.replace(aside)
            said = "state file is unreadable; the DPU will plug everything again"
            log.warning(said, aside=str(aside), why=str(failure))
            return State()

    def change(self, **fields: object) -> None:
        """Replace fields of the state, durably."""
        state = msgspec.structs.replace(self.state, **fields)
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(state))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self.state = state

    def functions(self, kind: Kind) -> dict[int, Function]:
        """Occupied slots of one kind, by slot."""
        return self.state.disks if kind is Kind.DISK else self.state.nics

    def every(self) -> list[Function]:
        """All occupied slots, disks first, in slot order."""
        return [table[slot] for table in (self.state.disks, self.state.nics) for slot in sorted(table)]

    def holder(self, kind: Kind, slot: int, function_id: str) -> Function | None:
        """What this very function has in this very slot; None when the slot is empty or another's."""
        found = self.functions(kind).get(slot)
        return found if found is not None and found.plugged.function_id == function_id else None

    def put(self, function: Function) -> None:
        """Record an occupied slot."""
        spec = function.plugged
        self._store(spec.kind, self.functions(spec.kind) | {spec.slot: function})

    def drop(self, spec: FunctionSpec) -> None:
        """Record that a slot is empty; nothing happens when it holds something else by now."""
        table = self.functions(spec.kind)
        held = table.get(spec.slot)
        if held is not None and held.plugged == spec:
            self._store(spec.kind, {slot: other for slot, other in table.items() if slot != spec.slot})

    def _store(self, kind: Kind, table: dict[int, Function]) -> None:
        self.change(**{"disks" if kind is Kind.DISK else "nics": table})
