"""A machine's timeline as lines: phase, time, bar, sentence."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from rich.text import Text

from bmctl.objects import Object, dig, instant, name_of
from bmctl.screen import state
from bmctl.units import duration

BAR_CELLS = 24
EIGHTHS = " ▏▎▍▌▋▊▉"
FULL = "█"
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
SPINS_PER_S = 8
LASTING = ("Running", "Stopped")
NOTABLE_S = 0.1


class Progress(Enum):
    """How far a phase is."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True)
class Phase:
    """One entry of a machine's timeline.

    Attributes:
        name: the phase.
        seconds: how long it took, or takes until now.
        progress: how far it is.
        attempts: how often it was tried.
        message: what it did.
    """

    name: str
    seconds: float
    progress: Progress
    attempts: int
    message: str

    @property
    def lasting(self) -> bool:
        """Whether the machine is meant to stay in it, so that its length says nothing."""
        return self.name in LASTING


def phases(machine: Object, now: datetime, known: Collection[str] = ()) -> list[Phase]:
    """The timeline of a machine as it stands at ``now``.

    Args:
        machine: the object.
        now: end of a phase that is under way.
        known: beginnings of phases to leave out, see ``past``.
    """
    entries = dig(machine, "status.timeline") or []
    return [_phase(entry, machine, now) for entry in entries if _counts(entry) and _key(entry) not in known]


def past(machine: Object | None) -> frozenset[str]:
    """The phases that a machine has behind it, or stays in: news of it begins after them."""
    entries = dig(machine, "status.timeline") or []
    return frozenset(_key(entry) for entry in entries if entry.get("finishedAt") or entry.get("phase") in LASTING)


def _key(entry: Object) -> str:
    return f"{entry.get('phase')} {entry.get('startedAt')}"


def _counts(entry: Object) -> bool:
    """A machine that was Pending for an instant was not Pending."""
    return entry.get("phase") != "Pending" or float(entry.get("seconds") or NOTABLE_S) >= NOTABLE_S


def _phase(entry: Object, machine: Object, now: datetime) -> Phase:
    started, finished = instant(entry.get("startedAt")), instant(entry.get("finishedAt"))
    seconds = entry.get("seconds")
    if seconds is None:
        seconds = ((finished or now) - started).total_seconds() if started else 0.0
    name = str(entry.get("phase", ""))
    if name == "Failed":
        progress = Progress.FAILED
    elif finished or name in LASTING:
        progress = Progress.DONE
    else:
        progress = Progress.RUNNING
    message = str(entry.get("message") or "")
    if progress is Progress.RUNNING and not message:
        message = str(dig(machine, "status.message") or "")
    return Phase(name, max(0.0, float(seconds)), progress, int(entry.get("attempts") or 1), message)


def heading(machine: Object) -> Text:
    """One line: name, phase, host, first address."""
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(name_of(machine), style="bold").append("  ")
    line.append_text(state(str(dig(machine, "status.phase") or "Pending")))
    host = dig(machine, "status.hostRef.name")
    addresses = dig(machine, "status.addresses") or []
    details = [str(host)] if host else []
    details += [str(one.get("address")) for one in addresses[:1]]
    return line.append("  " + "  ".join(details), style="dim") if details else line


def timeline_lines(shown: Sequence[Phase], *, clock_s: float) -> list[Text]:
    """One line for each phase, the bars to one scale.

    Args:
        shown: the phases.
        clock_s: any running clock; turns the mark of a phase that is under way.
    """
    longest = max((phase.seconds for phase in shown), default=0.0)
    width = max((len(phase.name) for phase in shown), default=0)
    return [_line(phase, longest, width, clock_s) for phase in shown]


def _line(phase: Phase, longest: float, width: int, clock_s: float) -> Text:
    line = Text("  ", no_wrap=True, overflow="ellipsis")
    line.append_text(_mark(phase, clock_s))
    line.append(f" {phase.name:<{width}}")
    line.append(f"  {'' if phase.lasting else duration(phase.seconds):>11}  ", style="bold")
    cells = "" if phase.lasting else bar(phase.seconds, longest)
    line.append(f"{cells:<{BAR_CELLS}}", style="cyan" if phase.progress is Progress.DONE else "yellow")
    if phase.attempts > 1:
        line.append(f"  {phase.attempts} tries", style="yellow")
    return line.append(f"  {phase.message}", style="dim")


def _mark(phase: Phase, clock_s: float) -> Text:
    if phase.progress is Progress.DONE:
        return Text("✓", style="green")
    if phase.progress is Progress.FAILED:
        return Text("✗", style="red")
    return Text(SPINNER[int(clock_s * SPINS_PER_S) % len(SPINNER)], style="yellow")


def bar(value: float, largest: float) -> str:
    """A bar of up to BAR_CELLS cells, to an eighth of a cell; anything above nothing shows."""
    if largest <= 0 or value <= 0:
        return ""
    eighths = max(1, round(value / largest * BAR_CELLS * 8))
    whole, part = divmod(eighths, 8)
    return FULL * whole + (EIGHTHS[part] if part else "")


def deployment_line(machine: Object) -> Text | None:
    """How long the first way to Running took, or None when it is not over."""
    total, own = dig(machine, "status.deployment.totalSeconds"), dig(machine, "status.deployment.ownSeconds")
    if total is None:
        return None
    line = Text("  deployed in ", style="dim").append(duration(float(total)), style="bold")
    return line if own is None else line.append(" · own part ", style="dim").append(duration(float(own)), style="bold")
