"""What the server makes of a body before it is stored: pure, the clock and the ids are arguments."""

from collections.abc import Sequence
from enum import Enum

from coordinator.api import errors, managed
from coordinator.api.conforming import conform
from coordinator.api.decoding import fill_defaults, prune
from coordinator.api.errors import Cause, CauseType
from coordinator.api.kinds import Kind
from coordinator.api.managed import Manager, Owners
from coordinator.api.naming import check_metadata
from coordinator.api.objects import Obj, copy, finalizers, meta
from coordinator.api.transitions import broken
from coordinator.api.validation import validate

_KEPT_META = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")
NAMESPACES = "namespaces"
_DNS_LABEL_KINDS = frozenset({NAMESPACES, "services"})


class FieldValidation(Enum):
    """What happens to unknown fields."""

    STRICT = "Strict"
    WARN = "Warn"
    IGNORE = "Ignore"


def check_identity(kind: Kind, body: Obj, namespace: str, name: str) -> None:
    """Make sure that a body is about what the path is about; the namespace is filled in.

    Raises:
        ApiError: 400, another kind, version, namespace or name.
    """
    if body.setdefault("apiVersion", kind.api_version) != kind.api_version:
        raise errors.bad_request(
            f"the API version in the data ({body['apiVersion']}) does not match the expected API version "
            f"({kind.api_version})"
        )
    if body.setdefault("kind", kind.kind) != kind.kind:
        raise errors.bad_request(f"{body['kind']} in version {kind.version!r} cannot be handled as a {kind.kind}")
    metadata = meta(body)
    if namespace and (metadata.get("namespace") or namespace) != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if name and (metadata.get("name") or name) != name:
        raise errors.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )
    if namespace:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)


def check_fields(kind: Kind, obj: Obj, mode: FieldValidation, *, patching: bool) -> list[str]:
    """Cut unknown fields.

    Returns:
        Warnings for the client.

    Raises:
        ApiError: 400 when the mode is Strict and there were any.
    """
    cut = prune(obj, kind.schema)
    if not cut or mode is FieldValidation.IGNORE:
        return []
    told = [f'unknown field "{path}"' for path in cut]
    if mode is FieldValidation.WARN:
        return told
    message = f"strict decoding error: {', '.join(told)}"
    if not patching:
        message = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {message}'
    raise errors.bad_request(message)


def check_values(kind: Kind, obj: Obj, old: Obj | None) -> None:
    """Validate a complete object.

    Raises:
        ApiError: 422 with a cause per wrong field.
    """
    metadata = meta(obj)
    causes: list[Cause] = check_metadata(metadata, label=kind.storage in _DNS_LABEL_KINDS)
    causes += validate(obj | {"metadata": {}}, kind.schema)
    if old is not None:
        causes += broken(old, obj, kind.schema)
        if "deletionTimestamp" in meta(old):
            causes += _late_finalizers(old, obj)
    if causes:
        raise errors.invalid(kind.kind, kind.group, str(metadata.get("name", "")), causes)


def _late_finalizers(old: Obj, new: Obj) -> list[Cause]:
    late = [name for name in finalizers(new) if name not in finalizers(old)]
    if not late:
        return []
    shown = ", ".join(f'"{name}"' for name in late)
    why = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{shown}}}"
    return [Cause(CauseType.FORBIDDEN, "metadata.finalizers", f"Forbidden: {why}")]


def begin(kind: Kind, body: Obj, uid: str, time: str) -> Obj:
    """A new object: server-owned metadata set, status dropped where it has its own endpoint."""
    obj: Obj = copy(body)
    metadata = meta(obj)
    for name in (*_KEPT_META, "resourceVersion", "managedFields"):
        metadata.pop(name, None)
    metadata |= {"uid": uid, "creationTimestamp": time}
    if kind.custom:
        metadata["generation"] = 1
        if kind.status:
            obj.pop("status", None)
    if kind.storage == NAMESPACES:
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata.get("name", "")
    conform(kind.storage, obj)
    fill_defaults(obj, kind.schema)
    return obj


def change(kind: Kind, old: Obj, wanted: Obj, *, status_only: bool) -> Obj:
    """The next state of an object, from what a client wants it to be.

    Args:
        kind: its kind.
        old: state as stored.
        wanted: state as the client sent it or as the patch made it.
        status_only: the request came through ``/status``; besides, only labels and annotations of plain kinds change,
            as with the real ones: who reports a pod's networks annotates it this way.
    """
    new: Obj = copy(old) if status_only else copy(wanted)
    if status_only:
        _take(new, wanted, "status")
        for name in () if kind.custom else ("labels", "annotations"):
            _take(meta(new), meta(wanted), name)
        meta(new)["managedFields"] = meta(wanted).get("managedFields", [])
    else:
        metadata, before = meta(new), meta(old)
        for name in _KEPT_META:
            _take(metadata, before, name)
        metadata["name"] = before["name"]
        if kind.status:
            _take(new, old, "status")
        if kind.storage == NAMESPACES:
            _take(new, old, "spec")
    conform(kind.storage, new)
    fill_defaults(new, kind.schema)
    if kind.custom and not status_only and _wants_differ(old, new):
        meta(new)["generation"] = int(meta(old).get("generation", 0)) + 1
    return new


def _take(target: Obj, source: Obj, name: str) -> None:
    if name in source:
        target[name] = copy(source[name])
    else:
        target.pop(name, None)


def _wants_differ(old: Obj, new: Obj) -> bool:
    ignored = {"metadata", "status"}
    return {name: old[name] for name in old if name not in ignored} != {
        name: new[name] for name in new if name not in ignored
    }


def base_owners(old: Obj, wanted: Obj) -> Owners:
    """Owners that a write starts from: the client's if it sent its own, else the stored ones.

    A list with one empty entry forgets all owners; kubectl edits the list when it moves to server-side apply.
    """
    sent, stored = meta(wanted).get("managedFields"), meta(old).get("managedFields", [])
    if sent == [{}]:
        return {}
    return managed.read(sent) if sent and sent != stored else managed.read(stored)


def own_update(kind: Kind, old: Obj, new: Obj, owners: Owners, manager: Manager, time: str) -> None:
    """Note in managedFields who changed what without apply."""
    difference = managed.compare(old, new, kind.schema)
    meta(new)["managedFields"] = managed.write(managed.after_update(owners, manager, difference, time))


def equal(old: Obj, new: Obj) -> bool:
    """Whether a write would change nothing but the times in managedFields."""
    left, right = dict(old), dict(new)
    left_meta, right_meta = dict(meta(old)), dict(meta(new))
    owners = (managed.read(left_meta.pop("managedFields", [])), managed.read(right_meta.pop("managedFields", [])))
    for metadata in (left_meta, right_meta):
        metadata.pop("resourceVersion", None)
    left["metadata"], right["metadata"] = left_meta, right_meta
    return left == right and managed.same(*owners)


def pending_finalizers(kind: Kind, obj: Obj) -> Sequence[str]:
    """What still has to be done before the object may go."""
    if kind.storage == NAMESPACES:
        return [*finalizers(obj), *(obj.get("spec", {}).get("finalizers") or [])]
    return finalizers(obj)
