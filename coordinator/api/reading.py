"""Get and list: from memory, selected, paged and shown in the form asked for."""

import base64
import binascii
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from coordinator.api import errors, tables
from coordinator.api.errors import bad_request
from coordinator.api.history import Record
from coordinator.api.kinds import Kind
from coordinator.api.negotiation import Form
from coordinator.api.objects import Key, Obj, decode, encode
from coordinator.api.selectors import Selection, parse_fields, parse_labels
from coordinator.api.store import Store
from coordinator.api.tables import Include


class Look(NamedTuple):
    """The form in which objects are shown."""

    form: Form
    include: Include = Include.METADATA


class Page(NamedTuple):
    """Where a list goes on: the version that it began at and the last object shown."""

    version: int
    namespace: str
    name: str

    def token(self) -> str:
        """The continue token."""
        return base64.urlsafe_b64encode(encode(list(self))).decode()

    @classmethod
    def parse(cls, token: str) -> "Page":
        """The page of a continue token.

        Raises:
            ApiError: 400, it is none of ours.
        """
        try:
            version, namespace, name = decode(base64.urlsafe_b64decode(token))
            return cls(int(version), str(namespace), str(name))
        except (binascii.Error, msgspec.DecodeError, ValueError, TypeError) as error:
            raise bad_request("continue key is not valid: it must be taken unchanged from the previous list") from error


def number(text: str | None, name: str) -> int:
    """A query parameter that is a number; 0 when absent.

    Raises:
        ApiError: 400.
    """
    if not text:
        return 0
    if not text.isdigit():
        raise bad_request(f'{name}: Invalid value: "{text}": must be a non-negative integer')
    return int(text)


def selection(kind: Kind, namespace: str, query: dict[str, str], name: str = "") -> Selection:
    """What the query selects; a name selects that object alone.

    Raises:
        ApiError: 400, a selector makes no sense.
    """
    fields = parse_fields(query.get("fieldSelector", ""), kind.selectable, kind.kind)
    if name:
        fields = (*fields, *parse_fields(f"metadata.name={name}", (), kind.kind))
    labels = parse_labels(query.get("labelSelector", ""))
    return Selection(namespace, labels, fields, kind.view.from_stored if kind.view else None)


def shown(kind: Kind, obj: Obj) -> Obj:
    """A stored object as its kind shows it."""
    return kind.view.from_stored(obj) if kind.view else obj


def shown_raw(kind: Kind, record: Record) -> bytes:
    """The JSON of a stored object as its kind shows it."""
    return encode(shown(kind, record.obj())) if kind.view else record.raw


def get(store: Store, kind: Kind, key: Key, look: Look) -> bytes:
    """One object.

    Raises:
        ApiError: 404.
    """
    record = store.get(key)
    if record is None:
        raise errors.not_found(kind.plural, kind.group, key.name)
    return present(kind, shown(kind, record.obj()), look) if look.form is not Form.OBJECT else shown_raw(kind, record)


def present(kind: Kind, obj: Obj, look: Look) -> bytes:
    """One object, as its kind shows it, in the form asked for."""
    if look.form is Form.TABLE:
        metadata = {"resourceVersion": obj.get("metadata", {}).get("resourceVersion", "")}
        return encode(tables.table(kind, [obj], metadata, look.include))
    if look.form in {Form.PARTIAL, Form.PARTIAL_LIST}:
        return encode(tables.partial(obj))
    return encode(obj)


def list_(store: Store, kind: Kind, namespace: str, query: dict[str, str], look: Look) -> bytes:
    """A list of objects, or a page of it.

    Raises:
        ApiError: 400 a parameter makes no sense, 410 the version asked for is forgotten, 504 it is not there yet.
    """
    chosen = selection(kind, namespace, query)
    limit = number(query.get("limit"), "limit")
    asked, match = number(query.get("resourceVersion"), "resourceVersion"), query.get("resourceVersionMatch", "")
    after: tuple[str, str] | None = None
    version = store.version
    if query.get("continue"):
        page = Page.parse(query["continue"])
        version, after = page.version, (page.namespace, page.name)
        records = _at(
            store, kind, namespace, version, "The provided continue parameter is too old: list again from the start"
        )
    elif asked > store.version:
        raise too_new(asked, store.version)
    elif match == "Exact" and asked:
        version = asked
        records = _at(store, kind, namespace, version, f"The resourceVersion for the provided list is too old: {asked}")
    else:
        records = store.scan(kind.storage, namespace)
    matching = (record for record in records if _behind(record, after) and chosen.matches(record))
    return _page(kind, matching, version, limit, look)


def _behind(record: Record, after: tuple[str, str] | None) -> bool:
    return after is None or (record.key.namespace, record.key.name) > after


def _at(store: Store, kind: Kind, namespace: str, version: int, message: str) -> Iterator[Record]:
    if version > store.version:
        raise too_new(version, store.version)
    try:
        return store.scan_at(kind.storage, namespace, version)
    except errors.ApiError as error:
        raise errors.expired(message) from error


def too_new(asked: int, current: int) -> errors.ApiError:
    """504: the version is not there yet; the reason that client libraries look for."""
    details: Obj = {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}
    details["retryAfterSeconds"] = 1
    return errors.ApiError(504, "Timeout", f"Too large resource version: {asked}, current: {current}", details)


def _page(kind: Kind, matching: Iterator[Record], version: int, limit: int, look: Look) -> bytes:
    records = list(islice(matching, limit)) if limit else list(matching)
    metadata: Obj = {"resourceVersion": str(version)}
    if limit and len(records) == limit:
        remaining = sum(1 for _ in matching)
        if remaining:
            last = records[-1].key
            metadata["continue"] = Page(version, last.namespace, last.name).token()
            metadata["remainingItemCount"] = remaining
    if look.form is Form.TABLE:
        return encode(tables.table(kind, [shown(kind, record.obj()) for record in records], metadata, look.include))
    if look.form in {Form.PARTIAL, Form.PARTIAL_LIST}:
        return encode(tables.partial_list([record.obj() for record in records], metadata))
    head = encode({"kind": kind.list_name, "apiVersion": kind.api_version, "metadata": metadata})
    return head[:-1] + b',"items":[' + b",".join(shown_raw(kind, record) for record in records) + b"]}"
