"""The one CEL rule that is understood: ``self == oldSelf``, a value that may be set but not changed.

A schema with another rule is refused when it is loaded: to ignore a rule would be to accept what it forbids.
"""

from collections.abc import Iterator
from typing import Any

from coordinator.api.errors import Cause, CauseType
from coordinator.api.objects import Obj
from coordinator.api.structure import children

IMMUTABLE = "self == oldSelf"


def unknown_rules(schema: Any, path: str = "") -> Iterator[str]:
    """Rules of a schema that are not understood, each with where it stands."""
    if isinstance(schema, list):
        for item in schema:
            yield from unknown_rules(item, path)
    if not isinstance(schema, dict):
        return
    rules = schema.get("x-kubernetes-validations")
    for rule in rules if isinstance(rules, list) else ():
        if " ".join(str(rule.get("rule", "")).split()) != IMMUTABLE:
            yield f"{path or '.'}: {rule.get('rule')}"
    for name, below in schema.items():
        yield from unknown_rules(below, f"{path}.{name}")


def broken(old: Any, new: Any, schema: Obj, path: str = "") -> Iterator[Cause]:
    """Values that changed although a rule says that they may not."""
    for rule in schema.get("x-kubernetes-validations") or ():
        if old != new:
            message = rule.get("message") or f"failed rule: {IMMUTABLE}"
            yield Cause(CauseType.INVALID, path, f'Invalid value: "{schema.get("type", "object")}": {message}')
            return
    before = {step: child for step, child, _ in children(old, schema)}
    for index, (step, child, below) in enumerate(children(new, schema)):
        if step in before:
            name = step[2:] if step.startswith("f:") else ""
            where = f"{path}[{index}]" if not name else f"{path}.{name}".lstrip(".")
            yield from broken(before[step], child, below, where)
