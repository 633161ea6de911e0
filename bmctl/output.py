"""Objects as JSON, YAML or names."""

import json
from enum import Enum
from typing import Any

import yaml

from bmctl.kinds import Kind
from bmctl.objects import Object, name_of


class Output(Enum):
    """What -o chooses."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"

    @property
    def tabular(self) -> bool:
        """Whether the server's Table is wanted rather than the objects."""
        return self in (Output.TABLE, Output.WIDE)


class _Dumper(yaml.SafeDumper):
    """YAML with text of several lines kept readable."""


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(value: Any) -> str:
    """A value as YAML, in the order it came."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def encode(obj: Object, output: Output, kind: Kind) -> str:
    """An object, or a list of them, in the form wanted, without the last newline.

    Args:
        obj: object or list object.
        output: JSON, YAML or NAME.
        kind: its kind, for names.
    """
    if output is Output.NAME:
        items = obj.get("items", [obj])
        return "\n".join(f"{kind.word}/{name_of(item)}" for item in items)
    shown = without_bookkeeping(obj)
    if output is Output.JSON:
        return json.dumps(shown, indent=2, ensure_ascii=False)
    return to_yaml(shown).rstrip("\n")


def without_bookkeeping(obj: Object) -> Object:
    """The object less managedFields, which only programs read."""
    if "items" in obj:
        return {**obj, "items": [without_bookkeeping(item) for item in obj["items"]]}
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    return {**obj, "metadata": metadata} if "metadata" in obj else obj
