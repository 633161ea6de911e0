"""How a value is built, as a structural schema says: which lists are maps or sets, which values are one piece.

Everything that merges or owns fields (apply, strategic merge, managedFields) walks objects through ``children``.
Without a schema, maps are merged by key and lists are one piece, as Kubernetes deduces it.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any

from coordinator.api.objects import Obj, decode, encode

Path = tuple[str, ...]
Child = tuple[str, Any, Obj]

ITEM = object()
"""Stands for "this list item exists" among the flat values."""


class Shape(Enum):
    """What a value is to those who merge it."""

    WHOLE = "whole"
    MAP = "map"
    LIST_MAP = "list map"
    LIST_SET = "list set"


def shape(value: Any, schema: Obj) -> Shape:
    """The shape of a value under its schema."""
    if isinstance(value, dict):
        return Shape.WHOLE if schema.get("x-kubernetes-map-type") == "atomic" else Shape.MAP
    if isinstance(value, list):
        kind = schema.get("x-kubernetes-list-type")
        if kind == "map" and all(isinstance(item, dict) for item in value):
            return Shape.LIST_MAP
        if kind == "set":
            return Shape.LIST_SET
    return Shape.WHOLE


def property_schema(schema: Obj, name: str) -> Obj:
    """Schema of one member of a map; empty when none is known."""
    found = schema.get("properties", {}).get(name)
    if found is None:
        found = schema.get("additionalProperties")
    return found if isinstance(found, dict) else {}


def item_schema(schema: Obj) -> Obj:
    """Schema of the items of a list; empty when none is known."""
    found = schema.get("items")
    return found if isinstance(found, dict) else {}


def item_key(item: Obj, schema: Obj) -> Obj:
    """The fields that tell an item of a list map from the others, defaults filled in."""
    known = item_schema(schema).get("properties", {})
    names = schema.get("x-kubernetes-list-map-keys", [])
    return {name: item.get(name, known.get(name, {}).get("default")) for name in sorted(names)}


def item_step(item: Any, schema: Obj) -> str:
    """The path step of a list item, in the notation of fieldsV1."""
    if schema.get("x-kubernetes-list-type") == "map":
        return "k:" + encode(item_key(item, schema)).decode()
    return "v:" + encode(item).decode()


def children(value: Any, schema: Obj) -> Iterator[Child]:
    """The parts of a value that can be owned one by one; none for a whole."""
    kind = shape(value, schema)
    if kind is Shape.MAP:
        for name, item in value.items():
            yield f"f:{name}", item, property_schema(schema, name)
    elif kind is Shape.LIST_MAP:
        for item in value:
            yield item_step(item, schema), item, item_schema(schema)
    elif kind is Shape.LIST_SET:
        for item in value:
            yield item_step(item, schema), item, {}


def flatten(value: Any, schema: Obj, at: Path = ()) -> dict[Path, Any]:
    """Every ownable path of a value with what stands there; list items stand for themselves too."""
    found: dict[Path, Any] = {}
    for step, child, below in children(value, schema):
        path = (*at, step)
        if step.startswith("k:"):
            found[path] = child if shape(child, below) is Shape.WHOLE else ITEM
        elif step.startswith("v:") or not child or shape(child, below) is Shape.WHOLE:
            found[path] = child
            continue
        found |= flatten(child, below, path)
    return found


def merge(live: Any, config: Any, schema: Obj) -> Any:
    """The live value with a configuration laid over it."""
    kind = shape(config, schema)
    if kind is Shape.WHOLE or shape(live, schema) is not kind:
        return config
    if kind is Shape.MAP:
        merged = dict(live)
        for name, item in config.items():
            merged[name] = merge(live.get(name), item, property_schema(schema, name))
        return merged
    items = {item_step(item, schema): item for item in live}
    for item in config:
        step = item_step(item, schema)
        items[step] = merge(items.get(step), item, item_schema(schema))
    return list(items.values())


def lookup(value: Any, path: Path, schema: Obj) -> tuple[bool, Any]:
    """Whether something stands at a path, and what."""
    for step in path:
        for name, child, below in children(value, schema):
            if name == step:
                value, schema = child, below
                break
        else:
            return False, None
    return True, value


def remove(value: Any, path: Path, schema: Obj) -> None:
    """Take what stands at a path out of the value; nothing when nothing stands there."""
    for step in path[:-1]:
        for name, child, below in children(value, schema):
            if name == step:
                value, schema = child, below
                break
        else:
            return
    last = path[-1]
    if isinstance(value, dict) and last.startswith("f:"):
        value.pop(last[2:], None)
    elif isinstance(value, list):
        value[:] = [item for item in value if item_step(item, schema) != last]


def spell(path: Path) -> str:
    """A path as people read it: ``.spec.nics[name="eth0"].mtu``."""
    out = ""
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "f":
            out += f".{rest}"
        elif kind == "k":
            out += "[" + ",".join(f"{name}={encode(item).decode()}" for name, item in decode(rest).items()) + "]"
        else:
            out += f"[={rest}]"
    return out
