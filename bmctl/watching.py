"""Watches that survive restarts of the server: one object's states, or the rows of a collection."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from bmctl.api import TABLE, Api
from bmctl.kinds import Kind
from bmctl.objects import Object, dig
from bmctl.status_reply import refusal
from bmctl.transport import JSON
from proto.errors import DpuError
from proto.reasons import Reason

LEASE_S = 300.0
PAUSES_S = (0.2, 0.5, 1.0, 2.0)
LOST = (Reason.UNAVAILABLE, Reason.CATCHING_UP)


def states(
    api: Api, kind: Kind, name: str, *, timeout_s: float, lost: Callable[[DpuError], None] | None = None
) -> Iterator[Object | None]:
    """The states of one object from now on, None while it does not exist; never ends by itself.

    A server that goes away is waited for; what was missed meanwhile is read again.

    Args:
        api: the API.
        kind: the object's kind.
        name: its name.
        timeout_s: how long to go on.
        lost: told each time the server cannot be reached.

    Raises:
        DpuError: DEADLINE when the time is over; refusals of the server as they are.
    """
    end = time.monotonic() + timeout_s
    failures = 0
    while True:
        try:
            obj = api.find(kind, name)
            failures = 0
            yield obj
            yield from _changes(api, kind, name, str(dig(obj, "metadata.resourceVersion", "") or ""), end)
        except DpuError as error:
            if error.reason not in LOST:
                raise
            if lost is not None:
                lost(error)
            _pause(failures, end, error)
            failures += 1


def _pause(failures: int, end: float, error: DpuError) -> None:
    left = end - time.monotonic()
    if left <= 0:
        raise error
    time.sleep(min(PAUSES_S[min(failures, len(PAUSES_S) - 1)], left))


def _changes(api: Api, kind: Kind, name: str, version: str, end: float) -> Iterator[Object | None]:
    """States from a resource version on; ends when the server has forgotten that version or closed the watch."""
    query = {"watch": "true", "allowWatchBookmarks": "true", "fieldSelector": f"metadata.name={name}"}
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise DpuError(Reason.DEADLINE, "the time is over", remedy="wait longer with --timeout")
        lease = {"timeoutSeconds": str(max(1, int(min(left, LEASE_S))))}
        start = {"resourceVersion": version} if version else {}
        try:
            with api.lines(kind, query | lease | start, silence_s=max(0.1, min(left, LEASE_S + 5))) as lines:
                for line in lines:
                    event = decoded(line)
                    version = str(dig(event, "object.metadata.resourceVersion", version))
                    if event["type"] == "DELETED":
                        yield None
                    elif event["type"] != "BOOKMARK":
                        yield event["object"]
        except DpuError as error:
            if error.reason is Reason.GONE:
                return
            if error.reason is not Reason.DEADLINE:
                raise


def rows(api: Api, kind: Kind, query: dict[str, str], *, everywhere: bool, as_table: bool) -> Iterator[Object]:
    """Events of a collection from the resource version in ``query`` on, until the server ends them.

    Args:
        api: the API.
        kind: kind of the collection.
        query: selectors and resourceVersion.
        everywhere: all namespaces.
        as_table: each event's object is a Table of one row instead of the object.
    """
    accept = TABLE if as_table else JSON
    wanted = {"watch": "true", **query}
    with api.lines(kind, wanted, everywhere=everywhere, silence_s=24 * 3600.0, accept=accept) as lines:
        for line in lines:
            yield decoded(line)


def decoded(line: str) -> dict[str, Any]:
    """One event of a watch.

    Raises:
        DpuError: it is the server's refusal; GONE when it has forgotten the resource version.
    """
    event: dict[str, Any] = msgspec.json.decode(line)
    if event.get("type") == "ERROR":
        raise refusal(event.get("object"), int(dig(event, "object.code", 500)))
    return event
