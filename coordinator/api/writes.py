"""Create, replace, patch and apply: one object at a time, checked as a whole, stored or refused as a whole."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from coordinator.api import errors, managed, shaping
from coordinator.api.apply import apply, without_nulls
from coordinator.api.errors import ApiError, Cause, CauseType
from coordinator.api.history import Change, Record
from coordinator.api.kinds import Kind, Registry
from coordinator.api.managed import Manager, Operation, Owners
from coordinator.api.naming import generate
from coordinator.api.objects import Key, Obj, copy, meta, now, timestamp
from coordinator.api.patch import json_patch, merge_patch, strategic_patch
from coordinator.api.shaping import NAMESPACES, FieldValidation
from coordinator.api.store import Store

_GENERATE_ATTEMPTS = 8


class PatchType(Enum):
    """Languages of patches, by media type."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass
class Options:
    """How a write is to be done; warnings are gathered here for the answer."""

    manager: str = "unknown"
    manager_given: bool = False
    validation: FieldValidation = FieldValidation.WARN
    dry_run: bool = False
    force: bool = False
    warnings: list[str] = field(default_factory=list)


class Writes:
    """All changes of objects but their deletion."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store = store
        self.registry = registry

    def stored_kind(self, kind: Kind) -> Kind:
        """The kind in whose form the objects are stored."""
        return self.registry.stored(kind.storage) or kind

    async def create(self, kind: Kind, namespace: str, body: Obj, options: Options) -> Obj:
        """Store a new object.

        Raises:
            ApiError: 400, 404 (namespace), 403 (namespace going), 409, 422, 507.
        """
        shaping.check_identity(kind, body, namespace, "")
        if kind.view:
            body, kind = kind.view.to_stored(body), self.stored_kind(kind)
        self._check_namespace(kind, namespace, str(meta(body).get("name", "")))
        options.warnings += shaping.check_fields(kind, body, options.validation, patching=False)
        stem = meta(body).get("generateName")
        generated = bool(stem) and isinstance(stem, str) and not meta(body).get("name")
        for attempt in range(_GENERATE_ATTEMPTS):
            if generated:
                meta(body)["name"] = generate(str(stem))
            try:
                return await self._create(kind, namespace, body, options)
            except ApiError as error:
                if not generated or error.reason != "AlreadyExists" or attempt + 1 == _GENERATE_ATTEMPTS:
                    raise
        raise errors.already_exists(kind.plural, kind.group, str(stem))

    async def _create(self, kind: Kind, namespace: str, body: Obj, options: Options) -> Obj:
        time = timestamp(now())
        obj = shaping.begin(kind, body, str(uuid.uuid4()), time)
        manager = Manager(options.manager, Operation.UPDATE, kind.api_version)
        shaping.check_values(kind, obj, None)
        shaping.own_update(kind, {}, obj, {}, manager, time)
        return await self._add(kind, namespace, obj, options)

    async def _add(self, kind: Kind, namespace: str, obj: Obj, options: Options) -> Obj:
        name = meta(obj)["name"]
        key = Key(kind.storage, namespace, name)
        async with self.store.editing(key) as found:
            if found:
                raise errors.already_exists(kind.plural, kind.group, name)
            if not options.dry_run:
                await self.store.commit(Change.ADDED, key, obj, None)
        return obj

    def _check_namespace(self, kind: Kind, namespace: str, name: str) -> None:
        if not kind.namespaced:
            return
        found = self.store.get(Key(NAMESPACES, "", namespace))
        if found is None:
            raise errors.not_found(NAMESPACES, "", namespace)
        if found.deleting:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise errors.forbidden(kind.plural, kind.group, name, why)

    async def replace(self, kind: Kind, key: Key, body: Obj, options: Options, subresource: str) -> Obj:
        """Store a whole new state of an object that exists.

        Raises:
            ApiError: 400, 404, 409 (not the stored resourceVersion), 422, 507.
        """
        shaping.check_identity(kind, body, key.namespace, key.name)
        if kind.custom and not meta(body).get("resourceVersion"):
            cause = Cause(
                CauseType.INVALID, "metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update"
            )
            raise errors.invalid(kind.plural, kind.group, key.name, [cause])
        if kind.view:
            body, kind = kind.view.to_stored(body), self.stored_kind(kind)
        options.warnings += shaping.check_fields(kind, body, options.validation, patching=False)
        return await self.update(kind, key, lambda _: body, options, subresource)

    async def patch(
        self, kind: Kind, key: Key, language: PatchType, patch: Any, options: Options, subresource: str
    ) -> tuple[Obj, bool]:
        """Change an object by a patch.

        Returns:
            The object, and whether it was created (apply only).

        Raises:
            ApiError: as for replace; 415 strategic merge patch for a custom kind.
        """
        if language is PatchType.APPLY:
            return await self._apply(kind, key, patch, options, subresource)
        if language is PatchType.STRATEGIC and kind.custom:
            raise errors.unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: "
                f"{PatchType.JSON.value}, {PatchType.MERGE.value}, {PatchType.APPLY.value}"
            )
        if language is not PatchType.JSON and not isinstance(patch, dict):
            raise errors.bad_request("error decoding patch: it must be an object")
        stored = self.stored_kind(kind)

        def patched(live: Obj) -> Obj:
            shown = kind.view.from_stored(live) if kind.view else live
            if language is PatchType.JSON:
                wanted = json_patch(shown, patch)
            elif language is PatchType.MERGE:
                wanted = merge_patch(shown, patch)
            else:
                wanted = strategic_patch(shown, patch, kind.schema)
            shaping.check_identity(kind, wanted, key.namespace, key.name)
            wanted = kind.view.to_stored(wanted) if kind.view else copy(wanted)
            options.warnings += shaping.check_fields(stored, wanted, options.validation, patching=True)
            return wanted

        return await self.update(stored, key, patched, options, subresource), False

    async def update(
        self, kind: Kind, key: Key, edit: Callable[[Obj], Obj], options: Options, subresource: str = ""
    ) -> Obj:
        """Store what ``edit`` makes of the present state; nothing is written when it changes nothing.

        Raises:
            ApiError: 404, 409, 422, 507, and what ``edit`` raises.
        """
        async with self.store.editing(key) as record:
            if record is None:
                raise errors.not_found(kind.plural, kind.group, key.name)
            old = record.obj()
            wanted = edit(record.obj())
            check_preconditions(kind, old, meta(wanted))
            owners = shaping.base_owners(old, wanted)
            status_only = subresource == "status"
            new = shaping.change(kind, old, wanted, status_only=status_only)
            time = timestamp(now())
            manager = Manager(options.manager, Operation.UPDATE, kind.api_version, subresource)
            shaping.own_update(kind, old, new, owners, manager, time)
            return await self._keep(kind, record, old, new, options)

    async def _keep(self, kind: Kind, record: Record, old: Obj, new: Obj, options: Options) -> Obj:
        shaping.check_values(kind, new, old)
        if shaping.equal(old, new):
            return old
        gone = "deletionTimestamp" in meta(new) and not shaping.pending_finalizers(kind, new)
        if not options.dry_run:
            await self.store.commit(Change.DELETED if gone else Change.MODIFIED, record.key, new, record)
        return new

    async def _apply(self, kind: Kind, key: Key, config: Any, options: Options, subresource: str) -> tuple[Obj, bool]:
        if not options.manager_given:
            cause = Cause(CauseType.REQUIRED, "fieldManager", "Required value: is required for apply patch")
            raise errors.invalid("PatchOptions", "meta.k8s.io", "", [cause])
        if not isinstance(config, dict):
            raise errors.bad_request("error decoding YAML: an apply patch is an object")
        if "apiVersion" not in config or "kind" not in config:
            raise errors.bad_request("an apply patch must name apiVersion and kind")
        if meta(config).get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        shaping.check_identity(kind, config, key.namespace, key.name)
        config = without_nulls(config)
        if kind.view:
            config, kind = kind.view.to_stored(config), self.stored_kind(kind)
        options.warnings += shaping.check_fields(kind, config, options.validation, patching=True)
        meta(config)["name"] = key.name
        if kind.status:
            config = {name: value for name, value in config.items() if (name == "status") == bool(subresource)} | {
                name: config[name] for name in ("apiVersion", "kind", "metadata")
            }
        return await self._apply_checked(kind, key, config, options, subresource)

    async def _apply_checked(
        self, kind: Kind, key: Key, config: Obj, options: Options, subresource: str
    ) -> tuple[Obj, bool]:
        manager = Manager(options.manager, Operation.APPLY, kind.api_version, subresource)
        time = timestamp(now())
        async with self.store.editing(key) as record:
            if record is not None:
                old = record.obj()
                check_preconditions(kind, old, meta(config))
                owners = managed.read(meta(old).get("managedFields"))
                done = apply(old, config, kind.schema, owners, manager, force=options.force, time=time)
                new = shaping.change(kind, old, done.obj, status_only=bool(subresource))
                self._own(new, done.owners)
                return await self._keep(kind, record, old, new, options), False
        if subresource:
            raise errors.not_found(kind.plural, kind.group, key.name)
        self._check_namespace(kind, key.namespace, key.name)
        done = apply({}, config, kind.schema, {}, manager, force=True, time=time)
        obj = shaping.begin(kind, done.obj, str(uuid.uuid4()), time)
        shaping.check_values(kind, obj, None)
        self._own(obj, done.owners)
        return await self._add(kind, key.namespace, obj, options), True

    @staticmethod
    def _own(obj: Obj, owners: Owners) -> None:
        meta(obj)["managedFields"] = managed.write(owners)


def check_preconditions(kind: Kind, old: Obj, sent: Obj) -> None:
    """Make sure that the client speaks of the state that is stored.

    Raises:
        ApiError: 409, it names another uid or resourceVersion.
    """
    present = meta(old)
    uid, version = sent.get("uid"), sent.get("resourceVersion")
    if uid and uid != present["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {present['uid']}"
        raise errors.conflict(kind.plural, kind.group, present["name"], why)
    if version and str(version) not in {present["resourceVersion"], "0"}:
        raise errors.conflict(kind.plural, kind.group, present["name"], errors.MODIFIED)
