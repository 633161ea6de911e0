"""bmctl volume explain."""

from collections.abc import Iterator
from datetime import UTC, datetime

import click
from rich.text import Text

from bmctl import screen
from bmctl.api import open_api
from bmctl.commands.volume.advice import advice
from bmctl.commands.volume.finding import is_ready, ready_words
from bmctl.commands.volume.limits import effective, told
from bmctl.commands.volume.listing import phase_of
from bmctl.commands.volume.surroundings import Ancestor, Disk, Surroundings, look_around
from bmctl.completing import names_of
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import VOLUME
from bmctl.objects import Object, conditions, dig, instant, name_of
from bmctl.screen import state
from bmctl.units import age, size

NEWEST = 6
"""Events that are shown; `bmctl describe` has them all."""
FEW = 4
"""Names in a line before the rest is counted."""


@click.command()
@click.argument("volume", shell_complete=names_of(VOLUME))
@namespaced
@current
def explain(invocation: Invocation, volume: str) -> None:
    """Show why VOLUME is in its state: what it stands on, who has it, what is in the way, what to do."""
    with open_api(invocation) as api:
        around = look_around(api, volume)
    for line in explained(around, datetime.now(UTC)):
        screen.out().print(line)


def explained(around: Surroundings, now: datetime) -> Iterator[Text]:
    """The screen, line by line."""
    yield from _head(around)
    yield from _section("Stands on", _chain(around))
    yield from _section("Stands on it", _dependants(around))
    yield from _section(
        "Shown to", [line for disk in around.disks for line in _disk(around, disk)] or [_dim("no host")]
    )
    yield from _section("Conditions", _conditions(around))
    yield from _section("Newest events", [_event(one, now) for one in around.events[-NEWEST:]])
    yield from _section("What to do", [Text(f"- {one}") for one in advice(around)])


def _head(around: Surroundings) -> Iterator[Text]:
    volume = around.volume
    yield Text("volume ", style="dim").append(name_of(volume), style="bold").append("   ").append_text(_state(volume))
    _, sentence = ready_words(volume)
    if sentence:
        yield Text(f"  {sentence}")
    has, allocated = dig(volume, "status.sizeBytes"), dig(volume, "status.allocatedBytes")
    extent = f"{dig(volume, 'spec.size')} wanted, {size(int(has)) if has else 'nothing'} there"
    extent += f", {size(int(allocated))} allocated" if allocated else ""
    secret = dig(volume, "spec.encryption.secretRef.name")
    trouble = around.backend_trouble()
    yield _pair("size", extent)
    yield _pair("backend", f"{around.backend}: {trouble or 'no volume complains of it'}")
    yield _pair("limits", told(_limits(around)) or "none")
    if secret:
        yield _pair("encrypted", f"with the key in Secret {secret}")
    fence = int(dig(volume, "status.attachGeneration") or 0)
    holder = dig(volume, "status.attachmentRef.name")
    yield _pair("fence", f"generation {fence}, " + (f"held by {holder}" if holder else "held by nobody"))
    if dig(volume, "status.condition.abnormal"):
        yield _pair("health", str(dig(volume, "status.condition.message")))


def _limits(around: Surroundings) -> dict[str, int]:
    return effective(around.volume, around.disks[0].attachment if len(around.disks) == 1 else {})


def _chain(around: Surroundings) -> list[Text]:
    if not around.ancestors:
        return [_dim("nothing: it began blank")]
    return [_ancestor(one, depth) for depth, one in enumerate(around.ancestors)]


def _ancestor(one: Ancestor, depth: int) -> Text:
    line = Text("  " * depth + f"{one.word}/{one.name}  ")
    if one.obj is None:
        return line.append("gone; what was cloned from it stays", style="dim")
    return line.append_text(_state(one.obj)).append(_unless_ready(one.obj))


def _dependants(around: Surroundings) -> Iterator[Text]:
    for word, objects in (("snapshots", around.snapshots), ("clones", around.clones)):
        if objects:
            names = ", ".join(f"{name_of(one)} ({phase_of(one)})" for one in objects[:FEW])
            more = len(objects) - FEW
            yield _pair(word, f"{len(objects)}: {names}" + (f" and {more} more" if more > 0 else ""), indent="")


def _disk(around: Surroundings, disk: Disk) -> Iterator[Text]:
    one = disk.attachment
    yield Text(f"attachment/{name_of(one)}  ").append_text(_state(one)).append(_unless_ready(one))
    machine = dig(one, "spec.machineRef.name")
    host = str(dig(one, "spec.hostRef.name")) + (f", machine {machine}" if machine else "")
    yield _pair("host", host + ("" if disk.host else ": there is no such host"))
    if disk.dpu is None:
        yield _pair("dpu", "none")
    else:
        line = _pair("dpu", f"{name_of(disk.dpu)}  ").append_text(_state(disk.dpu))
        yield line.append(_unless_ready(disk.dpu))
    own, fence = int(dig(one, "status.generation") or 0), int(dig(around.volume, "status.attachGeneration") or 0)
    verdict = f"generation {own} of {fence}" + ("" if own == fence else ", fenced off") if own else "not used yet"
    yield _pair("fence", verdict)
    serial, slot = dig(one, "status.serial"), dig(one, "status.slot")
    if serial:
        way = ", read-only" if dig(one, "spec.readOnly") else ""
        yield _pair("disk", f"{dig(one, 'status.protocol')} in slot {slot}, serial {serial}{way}")


def _conditions(around: Surroundings) -> Iterator[Text]:
    for obj in (around.volume, *(disk.attachment for disk in around.disks)):
        for one in conditions(obj):
            line = Text(f"{name_of(obj)}: {one.get('type')} is ").append_text(state(str(one.get("status"))))
            yield line.append(f", {one.get('reason')}: {one.get('message')}")


def _event(event: Object, now: datetime) -> Text:
    last = instant(event.get("lastTimestamp") or event.get("eventTime"))
    count = int(event.get("count") or 1)
    times = f" x{count}" if count > 1 else ""
    style = "yellow" if event.get("type") == "Warning" else ""
    line = Text(f"{age(last, now) if last else '-':>6}{times}  ", style="dim")
    about = dig(event, "involvedObject.name", "")
    return line.append(f"{about}: {event.get('reason')}: {event.get('message')}", style=style)


def _state(obj: Object) -> Text:
    return state(phase_of(obj))


def _unless_ready(obj: Object) -> str:
    reason, sentence = ready_words(obj)
    return f"  {sentence}" if reason and not is_ready(obj) else ""


def _pair(name: str, value: str, *, indent: str = "  ") -> Text:
    return Text(indent).append(f"{name:<11}", style="dim").append(value)


def _dim(text: str) -> Text:
    return Text(text, style="dim")


def _section(title: str, lines: Iterator[Text] | list[Text]) -> Iterator[Text]:
    body = list(lines)
    if body:
        yield Text()
        yield Text(title, style="bold cyan")
        for line in body:
            yield Text("  ").append_text(line)
