"""Merge patch (RFC 7386), JSON patch (RFC 6902) and strategic merge patch."""

from typing import Any

from coordinator.api.errors import bad_request, unprocessable
from coordinator.api.objects import Obj, copy
from coordinator.api.structure import Shape, item_schema, item_step, property_schema, shape


def merge_patch(target: Any, patch: Any) -> Any:
    """The target with a merge patch applied: null removes, maps merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merge_patch(found.get(name), value)
    return found


def json_patch(target: Obj, operations: Any) -> Obj:
    """A copy of the target with JSON patch operations applied in order.

    Raises:
        ApiError: 400 not a JSON patch, 422 an operation does not apply (a failed test, a missing path).
    """
    if not isinstance(operations, list) or not all(isinstance(operation, dict) for operation in operations):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    found: Any = copy(target)
    for operation in operations:
        found = _operate(found, operation)
    if not isinstance(found, dict):
        raise unprocessable("the JSON patch leaves no object")
    return found


def _operate(target: Any, operation: Obj) -> Any:
    name, path = operation.get("op"), _pointer(operation.get("path"))
    if name in {"add", "replace", "test"} and "value" not in operation:
        raise bad_request(f'error decoding patch: operation "{name}" lacks a value')
    if name == "test":
        if _get(target, path) != operation["value"]:
            raise unprocessable(f"the JSON patch does not apply: testing value {operation['path']} failed")
        return target
    if name == "remove":
        return _remove(target, path)
    if name == "replace":
        _get(target, path)
        return _add(_remove(target, path), path, operation["value"]) if path else operation["value"]
    if name == "add":
        return _add(target, path, copy(operation["value"]))
    if name in {"move", "copy"}:
        source = _pointer(operation.get("from"))
        value = copy(_get(target, source))
        return _add(_remove(target, source) if name == "move" else target, path, value)
    raise bad_request(f"error decoding patch: unknown operation {name!r}")


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise bad_request(f"error decoding patch: {text!r} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _index(items: list[Any], step: str, limit: int) -> int:
    if not step.isdigit() or int(step) > limit:
        raise unprocessable(f"the JSON patch does not apply: index {step} is out of the list of {len(items)}")
    return int(step)


def _get(target: Any, path: list[str]) -> Any:
    for step in path:
        if isinstance(target, dict) and step in target:
            target = target[step]
        elif isinstance(target, list):
            target = target[_index(target, step, len(target) - 1)]
        else:
            raise unprocessable(f"the JSON patch does not apply: /{'/'.join(path)} does not exist")
    return target


def _add(target: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _get(target, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(parent, last, len(parent)), value)
    else:
        raise unprocessable(f"the JSON patch does not apply: /{'/'.join(path)} has no parent")
    return target


def _remove(target: Any, path: list[str]) -> Any:
    _get(target, path)
    if not path:
        return None
    parent, last = _get(target, path[:-1]), path[-1]
    if isinstance(parent, dict):
        del parent[last]
    else:
        del parent[int(last)]
    return target


def strategic_patch(target: Any, patch: Any, schema: Obj) -> Any:
    """The target with a strategic merge patch applied; the schema's list types are the strategies.

    Understands ``$patch: delete|replace|merge``, ``$retainKeys``, ``$deleteFromPrimitiveList/NAME`` and
    ``$setElementOrder/NAME``.
    """
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    found = dict(target) if isinstance(target, dict) else {}
    if isinstance(keep := patch.get("$retainKeys"), list):
        found = {name: value for name, value in found.items() if name in keep}
    for name, value in patch.items():
        directive, _, field = name.partition("/")
        if directive == "$deleteFromPrimitiveList":
            found[field] = [item for item in found.get(field) or [] if item not in value]
        elif name.startswith("$"):
            continue
        elif value is None:
            found.pop(name, None)
        else:
            below = property_schema(schema, name)
            order = patch.get(f"$setElementOrder/{name}")
            found[name] = _strategic_value(found.get(name), value, below, order)
    return found


def _strategic_value(old: Any, new: Any, schema: Obj, order: Any) -> Any:
    if isinstance(new, dict):
        return strategic_patch(old, new, schema)
    if not isinstance(new, list) or not isinstance(old, list):
        return [item for item in new if not _directive(item)] if isinstance(new, list) else new
    if any(_directive(item) == "replace" for item in new):
        return [item for item in new if not _directive(item)]
    kind = shape(new, schema)
    if kind is Shape.WHOLE:
        return new
    items = {item_step(item, schema): item for item in old}
    for item in new:
        step = item_step(item, schema)
        if _directive(item) == "delete":
            items.pop(step, None)
        else:
            items[step] = strategic_patch(items.get(step), item, item_schema(schema))
    if isinstance(order, list):
        wanted = [item_step(item, schema) for item in order]
        steps = sorted(items, key=lambda step: wanted.index(step) if step in wanted else len(wanted))
        return [items[step] for step in steps]
    return list(items.values())


def _directive(item: Any) -> str:
    return str(item.get("$patch", "")) if isinstance(item, dict) else ""
