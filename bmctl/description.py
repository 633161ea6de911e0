"""An object told in full: header, what is wanted, what is there, conditions, timeline, events."""

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.text import Text

from bmctl import kinds
from bmctl.columns import Columns
from bmctl.kinds import Kind
from bmctl.objects import Object, conditions, dig, instant, name_of
from bmctl.output import to_yaml
from bmctl.phases import deployment_line, phases, timeline_lines
from bmctl.screen import state, tint
from bmctl.units import age

TOLD = {"conditions", "timeline", "deployment", "phase", "message", "observedGeneration"}
MACHINE_TOLD = {"disks", "nics", "addresses", "hostRef", "powerState", "restartedAt"}
INDENT = "  "


def described(kind: Kind, obj: Object, events: list[Object]) -> Iterator[Text]:
    """Lines that tell all about an object.

    Args:
        kind: its kind.
        obj: the object.
        events: events about it, oldest first.
    """
    yield from _header(kind, obj)
    if kind == kinds.MACHINE:
        yield from _machine(obj)
    else:
        yield from _section("Wanted", _yaml(obj.get("spec") or _payload(obj)))
        yield from _section("Seen", _yaml(_rest(obj.get("status") or {}, TOLD)))
    yield from _section("Conditions", _conditions(obj))
    shown = phases(obj, datetime.now(UTC))
    total = deployment_line(obj)
    yield from _section("Timeline", [*timeline_lines(shown, clock_s=0.0), *([total] if total else [])])
    yield from _section("Events", _events(events))


def _header(kind: Kind, obj: Object) -> Iterator[Text]:
    title = Text().append(f"{kind.word} ", style="dim").append(name_of(obj), style="bold")
    phase = str(dig(obj, "status.phase") or "")
    if phase:
        title.append("   ").append_text(state(phase))
    yield title
    message = dig(obj, "status.message")
    if message:
        yield Text(f"{INDENT}{message}")
    created = instant(dig(obj, "metadata.creationTimestamp"))
    labels = dig(obj, "metadata.labels") or {}
    yield from _pairs(
        {
            "namespace": dig(obj, "metadata.namespace"),
            "uid": dig(obj, "metadata.uid"),
            "created": f"{age(created, datetime.now(UTC))} ago" if created else None,
            "deleting": dig(obj, "metadata.deletionTimestamp"),
            "finalizers": ", ".join(dig(obj, "metadata.finalizers") or []) or None,
            "labels": ", ".join(f"{key}={value}" for key, value in labels.items()) or None,
        }
    )


def _machine(obj: Object) -> Iterator[Text]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    addresses = ", ".join(str(one.get("address")) for one in status.get("addresses") or [])
    yield from _section(
        "Machine",
        _pairs(
            {
                "host": dig(status, "hostRef.name") or dig(spec, "hostRef.name") or "none yet",
                "power": f"{status.get('powerState', 'Unknown')} (wanted {spec.get('power', 'On')})",
                "addresses": addresses or "none yet",
                "image": spec.get("image"),
                "user data": _user_data(spec),
                "restarted": status.get("restartedAt"),
            }
        ),
    )
    yield from _section("Disks", _disks(spec, status))
    yield from _section("NICs", _nics(status))
    yield from _section("Also seen", _yaml(_rest(status, TOLD | MACHINE_TOLD)))


def _user_data(spec: Object) -> str | None:
    """What kind of user data there is; not the text, which may hold secrets."""
    secret = dig(spec, "userDataSecretRef.name")
    if secret:
        return f"from Secret {secret}"
    text = str(spec.get("userData") or "")
    lines = text.splitlines()
    return f"{len(lines)} lines, {lines[0]}" if lines else None


def _disks(spec: Object, status: Object) -> list[Text]:
    wanted = {"root": dig(spec, "rootDisk.size")} | {
        str(disk.get("name")): disk.get("size") for disk in spec.get("disks") or []
    }
    seen = {str(disk.get("name")): disk for disk in status.get("disks") or []}
    rows = []
    for name in [*wanted, *(name for name in seen if name not in wanted)]:
        disk = seen.get(name, {})
        cells = [name, wanted.get(name), disk.get("state"), disk.get("volume"), disk.get("serial"), disk.get("slot")]
        rows.append([_cell(value) for value in cells])
    return _indented(Columns(["Name", "Size", "State", "Volume", "Serial", "Slot"]).lines(rows))


def _nics(status: Object) -> list[Text]:
    rows = [
        [_cell(nic.get(key)) for key in ("name", "state", "mac")]
        + [", ".join(nic.get("addresses") or []) or "-", _cell(nic.get("subnet")), _cell(nic.get("representor"))]
        for nic in status.get("nics") or []
    ]
    columns = Columns(["Name", "State", "MAC", "Addresses", "Subnet", "Representor"])
    return _indented(columns.lines(rows)) if rows else []


def _conditions(obj: Object) -> list[Text]:
    now = datetime.now(UTC)
    rows = []
    for one in conditions(obj):
        since = instant(one.get("lastTransitionTime"))
        rows.append(
            [_cell(one.get(key)) for key in ("type", "status", "reason")]
            + [age(since, now) if since else "-", _cell(one.get("message"))]
        )
    return _indented(Columns(["Condition", "Status", "Reason", "Since", "Message"]).lines(rows)) if rows else []


def _events(events: list[Object]) -> list[Text]:
    now = datetime.now(UTC)
    rows = []
    for event in events:
        last = instant(event.get("lastTimestamp") or event.get("eventTime"))
        count = int(event.get("count") or 1)
        seen = (age(last, now) if last else "-") + (f" x{count}" if count > 1 else "")
        rows.append([seen, _cell(event.get("type")), _cell(event.get("reason")), _cell(event.get("message"))])
    return _indented(Columns(["Last", "Type", "Reason", "Message"]).lines(rows)) if rows else []


def _section(title: str, lines: Iterator[Text] | list[Text]) -> Iterator[Text]:
    body = list(lines)
    if body:
        yield Text()
        yield Text(title, style="bold cyan")
        yield from body


def _pairs(values: dict[str, object]) -> Iterator[Text]:
    shown = {key: str(value) for key, value in values.items() if value not in (None, "")}
    width = max((len(key) for key in shown), default=0)
    for key, value in shown.items():
        yield Text(INDENT).append(f"{key:<{width}}   ", style="dim").append(value, style=_value_style(value))


def _value_style(value: str) -> str:
    return tint(value.split(" ", 1)[0]) if value.startswith(("On ", "Off ", "Unknown ")) else ""


def _yaml(value: Object) -> list[Text]:
    return [Text(INDENT + line) for line in to_yaml(value).splitlines()] if value else []


def _rest(status: Object, told: set[str]) -> Object:
    return {key: value for key, value in status.items() if key not in told}


def _payload(obj: Object) -> Object:
    """What a kind without spec holds; the data of a Secret stays hidden."""
    hidden = {"apiVersion", "kind", "metadata", "status", "data", "stringData"}
    keys = {"keys": sorted(obj["data"])} if isinstance(obj.get("data"), dict) else {}
    return {key: value for key, value in obj.items() if key not in hidden} | keys


def _cell(value: object) -> str:
    return "-" if value in (None, "") else str(value)


def _indented(lines: list[Text]) -> list[Text]:
    return [Text(INDENT).append_text(line) for line in lines]
