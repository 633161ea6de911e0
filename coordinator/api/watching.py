"""Watch: a cursor on the history of a resource, streamed one JSON object per line."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from coordinator.api import errors, tables
from coordinator.api.errors import Cause, CauseType
from coordinator.api.history import Change, Event, Record
from coordinator.api.kinds import Kind
from coordinator.api.negotiation import Form
from coordinator.api.objects import Obj, encode
from coordinator.api.reading import Look, number, selection, shown, shown_raw
from coordinator.api.request import truth
from coordinator.api.selectors import Selection
from coordinator.api.store import Store

BOOKMARK_S = 55.0
"""Seconds of silence after which a watcher that wants bookmarks gets one."""
END_OF_INITIAL = "k8s.io/initial-events-end"
_BATCH = 256


@dataclass(frozen=True)
class Order:
    """What a watcher asked for."""

    kind: Kind
    selection: Selection
    look: Look
    since: int | None
    initial: bool
    bookmarks: bool
    end_bookmark: bool
    timeout_s: float

    @classmethod
    def parse(cls, kind: Kind, namespace: str, query: dict[str, str], look: Look, name: str = "") -> "Order":
        """The order of a query.

        Raises:
            ApiError: 400 or 422, parameters make no sense.
        """
        text = query.get("resourceVersion") or ""
        since = number(text, "resourceVersion") if text else None
        send = query.get("sendInitialEvents")
        initial = truth(send) if send is not None else not since
        bookmarks = truth(query.get("allowWatchBookmarks"))
        match = query.get("resourceVersionMatch", "")
        if send is not None and match != "NotOlderThan":
            why = "Forbidden: resourceVersionMatch must be set to NotOlderThan when sendInitialEvents is set"
            cause = Cause(CauseType.FORBIDDEN, "resourceVersionMatch", why)
            raise errors.invalid("ListOptions", "meta.k8s.io", "", [cause])
        seconds = number(query.get("timeoutSeconds"), "timeoutSeconds")
        chosen = selection(kind, namespace, query, name)
        return cls(
            kind, chosen, look, since, initial, bookmarks, truth(send) and bookmarks, float(seconds or 7 * 86400)
        )


def _line(change: str, body: bytes) -> bytes:
    return b'{"type":"' + change.encode() + b'","object":' + body + b"}\n"


def _departed(previous: Record, version: int) -> Record:
    """The last state that a selection saw of an object, at the version at which it left."""
    obj = previous.obj()
    obj["metadata"]["resourceVersion"] = str(version)
    return Record.of(previous.key, version, encode(obj), obj)


class Watcher:
    """One watch: frames from the state (when asked for), then from the history, until its time is over.

    Args:
        store: where objects live.
        order: what to watch.
    """

    def __init__(self, store: Store, order: Order) -> None:
        self._store = store
        self._order = order
        self._ring = store.ring(order.kind.storage)
        self._headed = False
        self._cursor = order.since or 0
        if not order.initial and (self._cursor < self._ring.floor or self._cursor > store.version):
            raise errors.too_old(self._cursor, max(self._ring.floor, 1))

    async def frames(self) -> AsyncIterator[bytes]:
        """Frames to send; ends when the watch is over or when the watcher fell too far behind."""
        order = self._order
        deadline = time.monotonic() + order.timeout_s
        if order.initial:
            for chunk in self._initial():
                yield chunk
                await asyncio.sleep(0)
        while (left := deadline - time.monotonic()) > 0:
            if self._cursor < self._ring.floor:
                if order.since:  # who named no version would ask the same again at once, and again
                    yield _line("ERROR", encode(errors.too_old(self._cursor, self._ring.floor).status()))
                return
            events = self._ring.after(self._cursor, _BATCH)
            if events:
                self._cursor = events[-1].version
                if chunk := b"".join(self._frame(event) for event in events):
                    yield chunk
            elif not await self._ring.changed(self._cursor, min(left, BOOKMARK_S)) and order.bookmarks:
                self._cursor = max(self._cursor, self._store.version) if self._idle() else self._cursor
                yield self._bookmark({})

    def _idle(self) -> bool:
        return not self._ring.after(self._cursor, 1)

    def _initial(self) -> Iterable[bytes]:
        order = self._order
        records = list(self._store.scan(order.kind.storage, order.selection.namespace))
        version = self._cursor = self._store.version
        for start in range(0, len(records), _BATCH):
            part = records[start : start + _BATCH]
            yield b"".join(_line("ADDED", self._show(each)) for each in part if order.selection.matches(each))
        if order.end_bookmark:
            yield self._bookmark({END_OF_INITIAL: "true"}, version)

    def _bookmark(self, annotations: dict[str, str], version: int = 0) -> bytes:
        kind, metadata = self._order.kind, {"resourceVersion": str(version or self._cursor)}
        body: Obj = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        body["metadata"] |= {"creationTimestamp": None}
        if annotations:
            body["metadata"]["annotations"] = annotations
        if self._order.look.form is Form.TABLE:
            return _line("BOOKMARK", encode(tables.table(kind, [], metadata, self._order.look.include, headed=False)))
        if self._order.look.form is not Form.OBJECT:
            body |= {"kind": "PartialObjectMetadata", "apiVersion": tables.META_V1}
        return _line("BOOKMARK", encode(body))

    def _frame(self, event: Event) -> bytes:
        """The event as this watcher sees it: entering a selection is ADDED, leaving it DELETED."""
        chosen, change = self._order.selection, event.change
        before = event.previous is not None and chosen.matches(event.previous)
        after = change is not Change.DELETED and chosen.matches(event.record)
        if not before and not after:
            return b""
        arrived_or_left = Change.ADDED if after else Change.DELETED
        seen = Change.MODIFIED if before and after else arrived_or_left
        record = event.record
        if seen is Change.DELETED and change is not Change.DELETED and event.previous:
            record = _departed(event.previous, event.version)
        if self._order.look.form is Form.TABLE and not self._headed:
            return _line(seen.value, self._show(record))
        form = (seen, self._order.kind.api_version, self._order.look)
        return event.frame(form, lambda: _line(seen.value, self._show(record)))

    def _show(self, record: Record) -> bytes:
        kind, look = self._order.kind, self._order.look
        if look.form is Form.OBJECT:
            return shown_raw(kind, record)
        obj = shown(kind, record.obj())
        if look.form is not Form.TABLE:
            return encode(tables.partial(obj))
        headed, self._headed = not self._headed, True
        metadata = {"resourceVersion": str(record.version)}
        return encode(tables.table(kind, [obj], metadata, look.include, headed=headed))
