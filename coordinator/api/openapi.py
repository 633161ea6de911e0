"""OpenAPI v3 documents, one per group and version: what kubectl needs to explain, validate and patch."""

from collections.abc import Iterator
from functools import cached_property

from coordinator.api.bodies import digest
from coordinator.api.kinds import Kind, Registry
from coordinator.api.metadata_schema import OBJECT_META
from coordinator.api.objects import Obj

V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""An empty body of this type satisfies clients that insist on OpenAPI v2."""

_META_NAME = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_LIST_META_NAME = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
_LIST_META: Obj = {
    "type": "object",
    "description": "Metadata of a list.",
    "properties": {
        "resourceVersion": {"type": "string", "description": "Version of the state that the list shows."},
        "continue": {"type": "string", "description": "Token of the next page."},
        "remainingItemCount": {"type": "integer", "format": "int64", "description": "Objects on later pages."},
    },
}


def _parameter(name: str, description: str, kind: str = "string", where: str = "query") -> Obj:
    found: Obj = {"name": name, "in": where, "description": description, "schema": {"type": kind, "uniqueItems": True}}
    return found | ({"required": True} if where == "path" else {})


_WRITE_PARAMETERS = [
    _parameter("dryRun", "All: run every check and store nothing."),
    _parameter("fieldManager", "Who writes, for managedFields."),
    _parameter("fieldValidation", "Strict, Warn or Ignore: what happens to unknown fields."),
]
_FORCE = _parameter("force", "Take fields over from other managers.", "boolean")
_LIST_PARAMETERS = [
    _parameter("labelSelector", "Labels to select by."),
    _parameter("fieldSelector", "Fields to select by."),
    _parameter("limit", "Objects per page.", "integer"),
    _parameter("continue", "Token of the page."),
    _parameter("resourceVersion", "Version to show."),
    _parameter("watch", "Stream changes.", "boolean"),
]
_PATCH_TYPES = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")


def _component(kind: Kind) -> str:
    group = ".".join(reversed(kind.group.split("."))) if kind.group else "io.k8s.api.core"
    return f"{group}.{kind.version}.{kind.kind}"


def _ref(name: str) -> Obj:
    return {"$ref": f"#/components/schemas/{name}"}


def _identity(kind: Kind) -> Obj:
    return {"group": kind.group, "kind": kind.kind, "version": kind.version}


def _operation(kind: Kind, action: str, answer: str, parameters: list[Obj], bodies: tuple[str, ...] = ()) -> Obj:
    content = {"application/json": {"schema": _ref(answer)}}
    found: Obj = {
        "operationId": f"{action}{kind.version.capitalize()}{'Namespaced' if kind.namespaced else ''}{kind.kind}",
        "description": f"{action} objects of kind {kind.kind}",
        "tags": [f"{kind.group or 'core'}_{kind.version}"],
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": content}, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _identity(kind),
    }
    if bodies:
        content = {media: {"schema": _ref(_component(kind)) if media == "application/json" else {}} for media in bodies}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _paths(kind: Kind, prefix: str) -> Iterator[tuple[str, Obj]]:
    place = f"{prefix}/namespaces/{{namespace}}" if kind.namespaced else prefix
    name, one, many = _component(kind), ("application/json",), f"{_component(kind)}List"
    common = [_parameter("namespace", "Namespace.", where="path")] if kind.namespaced else []
    named = [_parameter("name", "Name.", where="path"), *common]
    writable = "create" in kind.verbs
    collection: Obj = {"parameters": common, "get": _operation(kind, "list", many, _LIST_PARAMETERS)}
    if writable:
        collection["post"] = _operation(kind, "post", name, _WRITE_PARAMETERS, one)
        collection["delete"] = _operation(kind, "deletecollection", name, _LIST_PARAMETERS + _WRITE_PARAMETERS[:1])
    yield f"{place}/{kind.plural}", collection
    for suffix in ("", *(["/status"] if kind.status else [])):
        item: Obj = {"parameters": named, "get": _operation(kind, "get", name, [])}
        if writable:
            item["put"] = _operation(kind, "put", name, _WRITE_PARAMETERS, one)
            item["patch"] = _operation(kind, "patch", name, [*_WRITE_PARAMETERS, _FORCE], _PATCH_TYPES)
            item["delete"] = _operation(kind, "delete", name, _WRITE_PARAMETERS[:1])
        yield f"{place}/{kind.plural}/{{name}}{suffix}", item


def _schemas(kind: Kind) -> Iterator[tuple[str, Obj]]:
    properties = dict(kind.schema.get("properties", {}))
    properties["metadata"] = {"description": OBJECT_META["description"], "allOf": [_ref(_META_NAME)]}
    name, identity = _component(kind), _identity(kind)
    yield name, kind.schema | {"properties": properties, "x-kubernetes-group-version-kind": [identity]}
    items: Obj = {"type": "array", "description": "The objects.", "items": {"allOf": [_ref(name)]}}
    header = {
        "apiVersion": {"type": "string", "description": "Version of this schema."},
        "kind": {"type": "string", "description": "Kind of the list."},
        "metadata": {"description": _LIST_META["description"], "allOf": [_ref(_LIST_META_NAME)]},
    }
    listed: Obj = {"type": "object", "description": f"A list of {kind.kind}.", "properties": header | {"items": items}}
    yield f"{name}List", listed | {"x-kubernetes-group-version-kind": [identity | {"kind": kind.list_name}]}


class OpenApi:
    """The documents of all groups.

    Args:
        registry: kinds to describe.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @cached_property
    def documents(self) -> dict[str, Obj]:
        """Document by path below ``/openapi/v3/``, such as ``apis/dpupool.io/v1alpha1``."""
        found = {}
        for group, versions in self._registry.groups().items():
            for version in versions:
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                found[path] = self._document(group, version, f"/{path}")
        return found

    def _document(self, group: str, version: str, prefix: str) -> Obj:
        kinds = self._registry.of(group, version)
        schemas: Obj = {_META_NAME: OBJECT_META, _LIST_META_NAME: _LIST_META}
        for kind in kinds:
            schemas |= dict(_schemas(kind))
        return {
            "openapi": "3.0.0",
            "info": {"title": "dpupool", "version": version},
            "paths": {path: item for kind in kinds for path, item in _paths(kind, prefix)},
            "components": {"schemas": schemas},
        }

    @cached_property
    def index(self) -> Obj:
        """The index, with a hash of each document for caches."""
        return {
            "paths": {
                path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest(document)}"}
                for path, document in self.documents.items()
            }
        }
