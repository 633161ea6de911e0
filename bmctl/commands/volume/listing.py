"""bmctl volume list."""

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.columns import Columns
from bmctl.commands.volume.finding import is_ready, items, ready_words, source_of
from bmctl.commands.volume.limits import effective, limits_of, told
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import ATTACHMENT, SNAPSHOT, VOLUME, Kind
from bmctl.objects import Object, dig, instant, name_of
from bmctl.output import Output, encode
from bmctl.units import age, size

NAMES = ["Name", "Phase", "Size", "Allocated", "Backend", "Source", "Limits", "Held by", "Condition"]
SNAPSHOT_NAMES = ["Snapshot", "Phase", "Size", "Volume", "Group", "Cut", "Condition"]
FORMS = [Output.TABLE.value, Output.JSON.value, Output.YAML.value, Output.NAME.value]


@click.command("list")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Volumes of all namespaces.")
@click.option("--snapshots", "with_snapshots", is_flag=True, help="Show snapshots, too.")
@click.option("-o", "--output", type=click.Choice(FORMS), default=Output.TABLE.value, help="Form.")
@namespaced
@current
def list_volumes(invocation: Invocation, everywhere: bool, with_snapshots: bool, output: str) -> None:
    """Show volumes with their size, source, limits, condition and who has them."""
    with open_api(invocation) as api:
        volumes = items(api, VOLUME, everywhere=everywhere)
        snapshots = items(api, SNAPSHOT, everywhere=everywhere) if with_snapshots else []
        if output != Output.TABLE.value:
            _encoded(volumes, snapshots, Output(output))
            return
        attachments = items(api, ATTACHMENT, everywhere=everywhere)
        _tables(api, volumes, attachments, snapshots, everywhere=everywhere)


def _encoded(volumes: list[Object], snapshots: list[Object], output: Output) -> None:
    """As data: a list, in which each object says its kind."""
    whole: list[Object] = []
    for kind, objects in ((VOLUME, volumes), (SNAPSHOT, snapshots)):
        if output is Output.NAME:
            whole += [{"metadata": {"name": f"{kind.word}/{name_of(one)}"}} for one in objects]
        else:
            whole += [{"apiVersion": kind.api_version, "kind": kind.kind, **one} for one in objects]
    if output is Output.NAME:
        for one in whole:
            screen.out().print(name_of(one))
        return
    screen.out().print(encode({"apiVersion": "v1", "kind": "List", "items": whole}, output, VOLUME))


def _tables(
    api: Api, volumes: list[Object], attachments: list[Object], snapshots: list[Object], *, everywhere: bool
) -> None:
    place = "" if everywhere else f" in namespace {api.namespace}"
    if not volumes and not snapshots:
        screen.err().print(f"no {_word(VOLUME, everywhere=everywhere)}{place}", style="dim")
        return
    rows = [_row(one, [two for two in attachments if _belongs(two, one)]) for one in volumes]
    _print(NAMES, rows, volumes, everywhere=everywhere)
    if snapshots:
        screen.out().print()
        now = datetime.now(UTC)
        _print(SNAPSHOT_NAMES, [_snapshot_row(one, now) for one in snapshots], snapshots, everywhere=everywhere)


def _word(kind: Kind, *, everywhere: bool) -> str:
    return kind.names[0] + (" anywhere" if everywhere else "")


def _print(names: list[str], rows: list[list[str]], objects: list[Object], *, everywhere: bool) -> None:
    if everywhere:
        names = ["Namespace", *names]
        rows = [[str(dig(one, "metadata.namespace", "-")), *row] for one, row in zip(objects, rows, strict=True)]
    if rows:
        for line in Columns(names).lines(rows):
            screen.out().print(line)


def _belongs(attachment: Object, volume: Object) -> bool:
    same = dig(attachment, "metadata.namespace") == dig(volume, "metadata.namespace")
    return bool(same and dig(attachment, "spec.volumeRef.name") == name_of(volume))


def _row(volume: Object, attachments: Sequence[Object]) -> list[str]:
    size_bytes, allocated = dig(volume, "status.sizeBytes"), dig(volume, "status.allocatedBytes")
    source = source_of(volume)
    limits = effective(volume, attachments[0]) if len(attachments) == 1 else limits_of(volume, "spec.qos")
    return [
        name_of(volume),
        phase_of(volume),
        size(int(size_bytes)) if size_bytes else f"{dig(volume, 'spec.size')} wanted",
        size(int(allocated)) if allocated else "-",
        str(dig(volume, "spec.backend", "file")),
        f"{source[0]}/{source[1]}" if source else "blank",
        told(limits) or "-",
        ", ".join(_holder(one) for one in attachments) or "-",
        _condition(volume),
    ]


def phase_of(obj: Object) -> str:
    """The phase; Deleting for whatever is on its way out."""
    return "Deleting" if dig(obj, "metadata.deletionTimestamp") else str(dig(obj, "status.phase") or "Pending")


def _holder(attachment: Object) -> str:
    dpu = dig(attachment, "status.dpu")
    via = f" by {dpu}" if dpu else ""
    phase = phase_of(attachment)
    state = "" if phase == "Attached" else f" ({phase})"
    return f"{name_of(attachment)}: {dig(attachment, 'spec.hostRef.name')}{via}{state}"


def _condition(obj: Object) -> str:
    if dig(obj, "status.condition.abnormal"):
        return str(dig(obj, "status.condition.message"))
    if is_ready(obj):
        return "ok"
    reason, message = ready_words(obj)
    return f"{reason}: {message}" if reason else "not looked at yet"


def _snapshot_row(snapshot: Object, now: datetime) -> list[str]:
    size_bytes, cut = dig(snapshot, "status.sizeBytes"), instant(dig(snapshot, "status.createdAt"))
    return [
        name_of(snapshot),
        phase_of(snapshot),
        size(int(size_bytes)) if size_bytes else "-",
        str(dig(snapshot, "spec.volumeRef.name")),
        str(dig(snapshot, "spec.groupId") or "-"),
        f"{age(cut, now)} ago" if cut else "-",
        _condition(snapshot),
    ]
