"""Objects out of YAML files, and the kinds they name."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bmctl.api import Api
from bmctl.kinds import KNOWN, Kind, named, of_manifest
from bmctl.objects import Object, name_of
from proto.errors import DpuError
from proto.reasons import Reason

SUFFIXES = (".yaml", ".yml", ".json")


def read(sources: tuple[str, ...]) -> list[tuple[str, Object]]:
    """All objects of files, folders or ``-`` for standard input, each with where it came from.

    Raises:
        DpuError: a file cannot be read, is not YAML, or holds something that is no object.
    """
    found = [pair for source in sources for path in _files(source) for pair in _objects(path)]
    if not found:
        raise DpuError(
            Reason.INVALID, f"{', '.join(sources)} holds no object", field="--filename", remedy="name a manifest"
        )
    return found


def _files(source: str) -> list[str]:
    path = Path(source)
    if source != "-" and path.is_dir():
        return sorted(str(one) for one in path.iterdir() if one.suffix in SUFFIXES)
    return [source]


def _objects(source: str) -> Iterator[tuple[str, Object]]:
    shown = "standard input" if source == "-" else source
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
        documents = [one for one in yaml.safe_load_all(text) if one is not None]
    except (OSError, UnicodeDecodeError) as error:
        raise DpuError(
            Reason.INVALID, f"{shown} cannot be read: {error}", field="--filename", remedy="check the name"
        ) from error
    except yaml.YAMLError as error:
        raise DpuError(
            Reason.INVALID, f"{shown} is not YAML: {error}", field="--filename", remedy="correct it"
        ) from error
    for number, document in enumerate(documents, 1):
        where = f"{shown}, document {number}" if len(documents) > 1 else shown
        yield from _flattened(document, where)


def _flattened(document: Any, where: str) -> Iterator[tuple[str, Object]]:
    if not isinstance(document, dict):
        raise DpuError(
            Reason.INVALID, f"{where} is no object", field="--filename", remedy="start it with apiVersion and kind"
        )
    if document.get("kind") == "List":
        for item in document.get("items") or []:
            yield from _flattened(item, where)
    else:
        yield where, document


def kind_of(api: Api, obj: Object, where: str) -> Kind:
    """The kind of a manifest; the server is asked when bmctl does not know it.

    Raises:
        DpuError: apiVersion, kind or the name is missing, or the server does not serve the kind (INVALID).
    """
    version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
    for field, value in (("apiVersion", version), ("kind", kind), ("metadata.name", name_of(obj))):
        if not value:
            raise DpuError(Reason.INVALID, f"{where} has no {field}", field=field, remedy="add it")
    known = of_manifest(version, kind) or _discovered(api, version, kind)
    if known is None:
        raise DpuError(
            Reason.INVALID,
            f"{where}: the server does not serve {kind} in {version}",
            field="kind",
            remedy=f"use one of: {', '.join(one.kind for one in KNOWN)}",
        )
    return known


def kind_named(word: str) -> Kind:
    """The kind that a person typed.

    Raises:
        DpuError: there is none of that name (INVALID).
    """
    kind = named(word)
    if kind is None:
        raise DpuError(
            Reason.INVALID,
            f"there is no kind {word!r}",
            field="KIND",
            remedy=f"use one of: {', '.join(one.names[0] for one in KNOWN)}",
        )
    return kind


def _discovered(api: Api, api_version: str, kind: str) -> Kind | None:
    group, _, version = api_version.rpartition("/")
    try:
        answer = api.transport.ask("GET", f"/apis/{api_version}" if group else f"/api/{version}")
    except DpuError as error:
        if error.reason is not Reason.NOT_FOUND:
            raise
        return None
    for resource in answer.get("resources") or []:
        if resource.get("kind") == kind and "/" not in resource["name"]:
            return Kind(kind, group, version, resource["name"], bool(resource.get("namespaced")))
    return None
