"""Custom kinds, from the CRD manifests that a real cluster would be given."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from coordinator.api.columns import path_column
from coordinator.api.errors import qualified
from coordinator.api.kinds import Kind, ScalePaths, View
from coordinator.api.metadata_schema import OBJECT_META
from coordinator.api.objects import Obj
from coordinator.api.transitions import IMMUTABLE, unknown_rules


class CrdError(Exception):
    """A manifest that cannot be served; the message names file, field and remedy."""


class Custom(NamedTuple):
    """What a manifest brings: the kinds to serve and the manifest itself, which clients may read."""

    kinds: tuple[Kind, ...]
    manifest: Obj


def load(places: Iterable[Path]) -> list[Custom]:
    """Custom kinds of manifests.

    Args:
        places: YAML files, and directories whose ``*.yaml`` are read.

    Raises:
        CrdError: a file is unreadable, is no CRD, or asks for what is not served.
    """
    found = []
    for place in places:
        files = sorted(place.glob("*.yaml")) if place.is_dir() else [place]
        for file in files:
            try:
                documents = list(yaml.safe_load_all(file.read_bytes()))
            except (OSError, yaml.YAMLError) as error:
                raise CrdError(f"{file}: cannot be read as YAML: {error}") from error
            found += [parse(document, str(file)) for document in documents if document]
    return found


def parse(manifest: Any, source: str) -> Custom:
    """The custom kinds of one manifest.

    Raises:
        CrdError: see ``load``.
    """
    if not isinstance(manifest, dict) or manifest.get("kind") != "CustomResourceDefinition":
        raise CrdError(f"{source}: kind: must be CustomResourceDefinition")
    try:
        spec = manifest["spec"]
        storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
        kinds = [_kind(spec, version, storage, source) for version in spec["versions"] if version.get("served")]
        expected = qualified(spec["names"]["plural"], spec["group"])
        if manifest["metadata"]["name"] != expected:
            raise CrdError(f"{source}: metadata.name: must be {expected}")
    except (KeyError, TypeError, StopIteration) as error:
        raise CrdError(
            f"{source}: spec: {error!r} is missing or of a wrong type; compare with a working CRD"
        ) from error
    kinds.sort(key=lambda kind: kind.version != storage)
    return Custom(tuple(kinds), manifest)


def _kind(spec: Obj, version: Obj, storage: str, source: str) -> Kind:
    names, schema = spec["names"], version["schema"]["openAPIV3Schema"]
    unknown = list(unknown_rules(schema))
    if unknown:
        raise CrdError(
            f'{source}: x-kubernetes-validations: only "{IMMUTABLE}" is understood, not: {"; ".join(unknown)}'
        )
    subresources, group = version.get("subresources") or {}, spec["group"]
    api_version = f"{group}/{version['name']}"
    return Kind(
        group=group,
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        storage=qualified(names["plural"], group),
        schema=_with_metadata(schema),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        columns=tuple(_columns(version, source)),
        status="status" in subresources,
        scale=_scale(subresources.get("scale")),
        selectable=tuple(field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or ()),
        custom=True,
        view=None if version["name"] == storage else _view(api_version, f"{group}/{storage}"),
        list_kind=names.get("listKind", ""),
    )


def _with_metadata(schema: Obj) -> Obj:
    """The schema with what every object has, as a real server completes it."""
    header: Obj = {
        "apiVersion": {"type": "string", "description": "Version of this schema."},
        "kind": {"type": "string", "description": "Kind of the object."},
    }
    return schema | {"properties": header | schema.get("properties", {}) | {"metadata": OBJECT_META}}


def _columns(version: Obj, source: str) -> Iterable[Any]:
    for column in version.get("additionalPrinterColumns") or ():
        more = {"priority": column.get("priority", 0), "description": column.get("description", "")}
        try:
            yield path_column(column["name"], column["jsonPath"], column["type"], **more)
        except ValueError as error:
            raise CrdError(f"{source}: additionalPrinterColumns {column['name']}: {error}") from error


def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.strip(".").split("."))


def _scale(found: Obj | None) -> ScalePaths | None:
    if found is None:
        return None
    selector = found.get("labelSelectorPath")
    return ScalePaths(
        _steps(found["specReplicasPath"]), _steps(found["statusReplicasPath"]), _steps(selector) if selector else ()
    )


def _view(shown: str, stored: str) -> View:
    return View(lambda obj: obj | {"apiVersion": stored}, lambda obj: obj | {"apiVersion": shown})


def established(manifest: Obj, time: str) -> Obj:
    """A manifest as the object that ``kubectl get crd`` and operators read.

    Args:
        manifest: CRD as loaded.
        time: since when it is served.
    """
    names, versions = manifest["spec"]["names"], manifest["spec"]["versions"]
    true = {"status": "True", "lastTransitionTime": time}
    status = {
        "acceptedNames": names,
        "conditions": [
            true | {"type": "NamesAccepted", "reason": "NoConflicts", "message": "no conflicts found"},
            true | {"type": "Established", "reason": "InitialNamesAccepted", "message": "served from its manifest"},
        ],
        "storedVersions": [version["name"] for version in versions if version.get("storage")],
    }
    return manifest | {"metadata": dict(manifest["metadata"]), "status": status}
