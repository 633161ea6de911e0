"""The replayable record of a loop: what it saw, what it was told, what it decided."""

from dataclasses import dataclass, field

import msgspec

from coordinator.core.pool.decide import Decision, decide
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.snapshot import read
from coordinator.core.pool.state import PoolState
from proto.errors import DpuError
from proto.reasons import Reason

VERSION = 1


@dataclass(frozen=True)
class LoopRecord:
    """Everything needed to make the same decision again."""

    seen: Observation
    state: PoolState
    options: PoolOptions
    decision: Decision
    version: int = field(default=VERSION)


def record(seen: Observation, state: PoolState, options: PoolOptions) -> LoopRecord:
    """Decide on an observation and keep both."""
    return LoopRecord(seen, state, options, decide(read(seen), state, options))


def to_json(thing: LoopRecord | Decision) -> bytes:
    """The thing as JSON, the same bytes for the same content."""
    return msgspec.json.encode(msgspec.to_builtins(thing, str_keys=True), order="deterministic")


def from_json(text: bytes) -> LoopRecord:
    """The record written by ``to_json``.

    Raises:
        DpuError: CORRUPT when it is no such record, UNSUPPORTED when a later version wrote it.
    """
    try:
        found = msgspec.json.decode(text, type=LoopRecord)
    except msgspec.ValidationError as error:
        remedy = "give a record that this product wrote"
        raise DpuError(Reason.CORRUPT, f"no loop record: {error}", field="record", remedy=remedy) from error
    except msgspec.DecodeError as error:
        raise DpuError(Reason.CORRUPT, f"no JSON: {error}", field="record", remedy="the file is damaged") from error
    if found.version > VERSION:
        message = f"version {found.version} is newer than {VERSION}"
        raise DpuError(Reason.UNSUPPORTED, message, field="version", remedy="replay with the version that wrote it")
    return found


@dataclass(frozen=True)
class Replay:
    """A recorded decision beside the one made now.

    Attributes:
        differences: names of the decision's fields that came out otherwise.
    """

    recorded: Decision
    now: Decision
    differences: tuple[str, ...]


def replay(recorded: LoopRecord) -> Replay:
    """Decide again on what a record saw."""
    now = decide(read(recorded.seen), recorded.state, recorded.options)
    old, new = (msgspec.to_builtins(one) for one in (recorded.decision, now))
    return Replay(recorded.decision, now, tuple(name for name in sorted(new) if old.get(name) != new[name]))
