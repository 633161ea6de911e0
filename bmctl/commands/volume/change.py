"""bmctl volume resize and qos."""

from time import monotonic
from typing import Any

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.commands.volume.finding import attachments_of, size_of, spelled
from bmctl.commands.volume.limits import effective, limiting, limits_of, merged, said, told
from bmctl.completing import names_of
from bmctl.goals import grown, limited
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import ATTACHMENT, VOLUME
from bmctl.objects import Object, dig, name_of
from bmctl.waiting import wait_for, waitable
from coordinator.core.storage.size import parse_size
from proto.errors import DpuError
from proto.reasons import Reason

LEAST_WAIT_S = 0.1


@click.command()
@click.argument("volume", shell_complete=names_of(VOLUME))
@click.argument("size")
@waitable
@namespaced
@current
def resize(invocation: Invocation, volume: str, size: str, wait: bool, timeout_s: float) -> None:
    """Grow VOLUME to SIZE, such as 20Gi, while it is used; it never shrinks."""
    wanted = parse_size(size, "spec.size")
    with open_api(invocation) as api:
        before = api.get(VOLUME, volume)
        now = size_of(before)
        if wanted < now:
            raise DpuError(
                Reason.INVALID,
                f"volume {volume} has {spelled(now)} and cannot shrink to {size}: what lies behind would be lost",
                field="spec.size",
                remedy=f"say at least {spelled(now)}, or copy what is needed to a smaller volume",
            )
        asked = api.merge(VOLUME, volume, {"spec": {"size": size}})
        if wait:
            _wait_grown(api, asked, wanted, timeout_s)
        hosts = attachments_of(api, volume)
    screen.out().print(f"volume/{volume} {'has' if wait else 'grows to'} {spelled(wanted)}")
    for one in hosts:
        if not dig(one, "status.liveResize"):
            host = dig(one, "spec.hostRef.name")
            screen.out().print(f"host {host} sees the new size after its next start", style="yellow")


def _wait_grown(api: Api, asked: Object, size_bytes: int, timeout_s: float) -> None:
    """First the backend, then every disk that shows it."""
    end, name = monotonic() + timeout_s, name_of(asked)
    wait_for(api, VOLUME, name, grown(name, size_bytes), timeout_s, asked)
    for one in attachments_of(api, name):
        left = max(LEAST_WAIT_S, end - monotonic())
        wait_for(api, ATTACHMENT, name_of(one), grown(name_of(one), size_bytes), left, one)


@click.command()
@click.argument("volume", shell_complete=names_of(VOLUME))
@limiting
@click.option("--unlimited", is_flag=True, help="Take all limits away.")
@waitable
@namespaced
@current
def qos(invocation: Invocation, /, volume: str, unlimited: bool, wait: bool, timeout_s: float, **options: Any) -> None:
    """Limit VOLUME while it is used; limits that are not named stay as they are, 0 takes one away."""
    change = said(options)
    if unlimited == bool(change):
        raise click.UsageError("say at least one limit, or --unlimited alone")
    with open_api(invocation) as api:
        before = api.get(VOLUME, volume)
        limits = {} if unlimited else merged(limits_of(before, "spec.qos"), change)
        body = {field: limits.get(field) for field in _fields(before) | set(limits)}
        asked = api.merge(VOLUME, volume, {"spec": {"qos": body or None}})
        attachments = attachments_of(api, volume)
        if wait:
            _wait_limited(api, asked, attachments, timeout_s)
    screen.out().print(f"volume/{volume} {'is' if wait else 'becomes'} {told(limits) or 'unlimited'}")
    for one in attachments:
        if effective(asked, one) != limits:
            own = told(effective(asked, one)) or "unlimited"
            says = f"attachment {name_of(one)} has limits of its own, which go before these: {own}"
            screen.out().print(says, style="yellow")


def _fields(volume: Object) -> set[str]:
    return set(dig(volume, "spec.qos") or {})


def _wait_limited(api: Api, asked: Object, attachments: list[Object], timeout_s: float) -> None:
    end = monotonic() + timeout_s
    for one in attachments:
        goal = limited(name_of(one), effective(asked, one))
        wait_for(api, ATTACHMENT, name_of(one), goal, max(LEAST_WAIT_S, end - monotonic()), one)
