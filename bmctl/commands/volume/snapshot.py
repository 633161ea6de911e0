"""bmctl volume snapshot."""

from datetime import UTC, datetime

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.commands.create import finish
from bmctl.completing import names_of
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import SNAPSHOT, VOLUME
from bmctl.objects import Object, dig, name_of
from bmctl.waiting import waitable
from proto.errors import DpuError
from proto.reasons import Reason

MOST = 64
"""Snapshots in a group, as spec.groupSize allows."""


@click.command()
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...", shell_complete=names_of(VOLUME))
@click.option("--name", help="Name of the snapshot, or of the group; the time when absent.")
@waitable
@namespaced
@current
def snapshot(invocation: Invocation, volumes: tuple[str, ...], name: str | None, wait: bool, timeout_s: float) -> None:
    """Keep what volumes hold now; several are cut at one instant, or none is.

    One snapshot is called NAME; those of a group are called VOLUME-NAME, and NAME is the group's id.
    """
    with open_api(invocation) as api:
        _check(api, volumes)
        wanted = _manifests(volumes, name, datetime.now(UTC))
        made = _create_all(api, wanted)
        for one in made:
            group = dig(one, "spec.groupId")
            beside = f" in group {group}" if group else ""
            screen.out().print(f"snapshot/{name_of(one)} of volume/{dig(one, 'spec.volumeRef.name')} created{beside}")
        if wait:
            finish(api, [(SNAPSHOT, one) for one in made], timeout_s)


def _check(api: Api, volumes: tuple[str, ...]) -> None:
    """Refuse what could never be cut, before anything is made."""
    twice = sorted({name for name in volumes if volumes.count(name) > 1})
    if twice:
        raise _invalid(f"volume {twice[0]} is named twice", "name each volume once")
    if len(volumes) > MOST:
        raise _invalid(f"{len(volumes)} volumes are more than a group of {MOST} takes", f"name at most {MOST}")
    backends = {str(dig(api.get(VOLUME, name), "spec.backend", "file")) for name in volumes}
    if len(backends) > 1:
        between = " and ".join(sorted(backends))
        raise _invalid(f"the volumes are at backends {between}", "make one group for each: a backend cuts its own only")


def _manifests(volumes: tuple[str, ...], name: str | None, now: datetime) -> list[Object]:
    stamp = now.strftime("%Y%m%d-%H%M%S")
    head = {"apiVersion": SNAPSHOT.api_version, "kind": SNAPSHOT.kind}
    if len(volumes) == 1:
        spec: Object = {"volumeRef": {"name": volumes[0]}}
        return [{**head, "metadata": {"name": name or f"{volumes[0]}-{stamp}"}, "spec": spec}]
    group = name or f"group-{stamp}"
    return [
        {
            **head,
            "metadata": {"name": f"{volume}-{name or stamp}"},
            "spec": {"volumeRef": {"name": volume}, "groupId": group, "groupSize": len(volumes)},
        }
        for volume in volumes
    ]


def _create_all(api: Api, wanted: list[Object]) -> list[Object]:
    """All of a group or none: one that is not whole would wait for the rest for ever."""
    made: list[Object] = []
    try:
        made.extend(api.create(SNAPSHOT, one) for one in wanted)
    except DpuError:
        for one in made:
            api.delete(SNAPSHOT, name_of(one))
        raise
    return made


def _invalid(message: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, message, field="VOLUME", remedy=remedy)
