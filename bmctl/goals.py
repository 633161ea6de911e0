"""What --wait waits for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bmctl import kinds
from bmctl.kinds import Kind
from bmctl.objects import Object, conditions, dig, name_of, observed
from proto.errors import DpuError
from proto.reasons import WIRE, Reason

FAILED_PHASE = "Failed"
READY_PHASES: dict[Kind, frozenset[str]] = {
    kinds.HOST: frozenset({"Available", "Claimed"}),
    kinds.DPU: frozenset({"Online"}),
    kinds.VOLUME: frozenset({"Available", "Bound"}),
    kinds.ATTACHMENT: frozenset({"Attached"}),
    kinds.IMAGE: frozenset({"Ready"}),
    kinds.SNAPSHOT: frozenset({"Ready"}),
}
SETTLED = frozenset({"Running", "Stopped", FAILED_PHASE})
GIVEN = frozenset({"attached", "forwarding"})


@dataclass(frozen=True)
class Goal:
    """A state to be reached.

    Attributes:
        sentence: the state in words, such as ``bm-01 runs``.
        reached: whether an object is in it; None stands for an object that does not exist.
        final: whether the phase Failed is the end of the wait.
        strict: whether a condition that will not mend by itself is, too.
    """

    sentence: str
    reached: Callable[[Object | None], bool]
    final: bool = True
    strict: bool = False

    def failure(self, obj: Object | None) -> DpuError | None:
        """Why the goal will not be reached without somebody's help; None as long as there is hope."""
        if obj is None or not self.final or not observed(obj):
            return None
        if _phase(obj) == FAILED_PHASE:
            ready: Object = next((one for one in conditions(obj) if one.get("type") == "Ready"), {})
            ready_reason = ready.get("reason", "")
            message = str(dig(obj, "status.message") or ready.get("message") or "it failed without saying why")
            return DpuError(_reason(str(ready_reason)) or Reason.INTERNAL, f"{name_of(obj)} failed: {message}")
        if not self.strict:
            return None
        hopeless = ((one, _reason(str(one.get("reason")))) for one in conditions(obj) if one.get("status") == "False")
        for one, reason in hopeless:
            if reason is not None and not WIRE[reason].retry:
                return DpuError(reason, f"{name_of(obj)}: {one.get('message')}")
        return None


def gone(name: str, uid: str) -> Goal:
    """The object with this uid does not exist any more."""
    return Goal(f"{name} is gone", lambda obj: obj is None or dig(obj, "metadata.uid") != uid, final=False)


def ready(kind: Kind, obj: Object) -> Goal | None:
    """The object is as wanted; None when its kind has no state to wait for."""
    name = name_of(obj)
    if kind == kinds.MACHINE:
        return stopped(name) if dig(obj, "spec.power") == "Off" else running(name)
    phases = READY_PHASES.get(kind)
    if phases is None:
        return None
    return Goal(f"{name} is ready", lambda seen: _phase(seen) in phases)


def running(name: str) -> Goal:
    """The machine answers."""
    return Goal(f"{name} runs", lambda obj: _acted_on(obj) and _phase(obj) == "Running")


def stopped(name: str) -> Goal:
    """The machine is off."""
    return Goal(f"{name} is off", lambda obj: _acted_on(obj) and _phase(obj) == "Stopped")


def restarted(name: str, at: str) -> Goal:
    """The machine answers after the restart that was asked for at ``at``."""

    def reached(obj: Object | None) -> bool:
        return dig(obj, "status.restartedAt") == at and _phase(obj) == "Running"

    return Goal(f"{name} runs again", reached)


def given(machine: str, field: str, item: str) -> Goal:
    """The machine has the disk or the NIC.

    Args:
        machine: its name.
        field: ``disks`` or ``nics``.
        item: name of the disk or NIC.
    """

    def reached(obj: Object | None) -> bool:
        entry = _entry(obj, field, item)
        return entry is not None and str(entry.get("state", "")).lower() in GIVEN

    return Goal(f"{machine} has {item}", reached, strict=True)


def taken(machine: str, field: str, item: str) -> Goal:
    """The machine does not have the disk or the NIC any more; one that is leaving is still in its status."""

    def reached(obj: Object | None) -> bool:
        return obj is None or (_acted_on(obj) and _entry(obj, field, item) is None)

    return Goal(f"{machine} is without {item}", reached)


def shown(attachment: str) -> Goal:
    """The host has the disk; a refusal that will not mend by itself ends the wait."""
    phases = READY_PHASES[kinds.ATTACHMENT]
    return Goal(f"{attachment} is attached", lambda obj: _acted_on(obj) and _phase(obj) in phases, strict=True)


def grown(name: str, size_bytes: int) -> Goal:
    """The volume, or the disk that shows it, has at least this size."""

    def reached(obj: Object | None) -> bool:
        return obj is not None and int(dig(obj, "status.sizeBytes") or 0) >= size_bytes

    return Goal(f"{name} has its new size", reached, strict=True)


def limited(name: str, limits: Mapping[str, int]) -> Goal:
    """The DPU has set these limits, by field of spec.qos, and no others; without a DPU there is nothing to set."""

    def reached(obj: Object | None) -> bool:
        if obj is None:
            return True
        found = dig(obj, "status.qos") or {}
        return {field: value for field, value in found.items() if value} == dict(limits)

    return Goal(f"{name} has its new limits", reached, strict=True)


def settled(obj: Object | None) -> bool:
    """Whether a machine is in a phase that lasts."""
    return obj is None or (_acted_on(obj) and _phase(obj) in SETTLED)


def _entry(obj: Object | None, field: str, item: str) -> Object | None:
    entries = dig(obj, f"status.{field}") or []
    return next((one for one in entries if one.get("name") == item), None)


def _phase(obj: Object | None) -> str:
    return str(dig(obj, "status.phase", ""))


def _acted_on(obj: Object | None) -> bool:
    return obj is not None and observed(obj)


def _reason(name: str) -> Reason | None:
    """The reason that a condition names, or None when it names something else."""
    return next((reason for reason in Reason if reason.value == name), None)
