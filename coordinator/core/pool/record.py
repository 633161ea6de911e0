"""The replayable record of a loop: what it saw, what it was told, what it decided."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from coordinator.core.pool.decide import Decision, decide
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.snapshot import Known, read
from coordinator.core.pool.state import PoolState
from coordinator.core.pool.watch import Over, Watch, never, replaying
from proto.errors import DpuError
from proto.reasons import Reason

VERSION = 2


@dataclass(frozen=True)
class LoopRecord:
    """Everything needed to make the same decision again.

    Attributes:
        cuts: where the decision was cut short, as the watch keeps it.
    """

    seen: Observation
    state: PoolState
    options: PoolOptions
    decision: Decision
    version: int = field(default=VERSION)
    cuts: Mapping[str, int] = field(default_factory=dict)


def record(
    seen: Observation, state: PoolState, options: PoolOptions, over: Over = never, known: Known | None = None
) -> LoopRecord:
    """Decide on an observation and keep both.

    Args:
        seen, state, options: of the decision.
        over: says when a part of it has taken too long.
        known: pods that earlier loops have read, see `Known`.
    """
    watch = Watch(over)
    decision = decide(read(seen, known), state, options, watch)
    return LoopRecord(seen, state, options, decision, cuts=dict(sorted(watch.cuts.items())))


def to_json(thing: LoopRecord | Decision) -> bytes:
    """The thing as JSON, the same bytes for the same content."""
    try:
        return msgspec.json.encode(thing, order="deterministic")
    except (
        TypeError,
        OverflowError,
    ):  # priorities are keys that are no text; objects left out hold numbers of any size
        return _plainly(msgspec.to_builtins(thing, str_keys=True))


def _plainly(plain: Any) -> bytes:
    try:
        return msgspec.json.encode(plain, order="deterministic")
    except OverflowError:
        return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


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
    """Decide again on what a record saw, cut short where it was."""
    now = decide(read(recorded.seen), recorded.state, recorded.options, replaying(recorded.cuts))
    old, new = (msgspec.to_builtins(one) for one in (recorded.decision, now))
    return Replay(recorded.decision, now, tuple(name for name in sorted(new) if old.get(name) != new[name]))
