"""What a client wants to read: plain objects, Tables, metadata alone, or aggregated discovery."""

from dataclasses import dataclass, field
from enum import Enum

from coordinator.api.errors import not_acceptable


class Form(Enum):
    """How objects are shown."""

    OBJECT = "object"
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"
    PARTIAL_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True)
class MediaType:
    """One entry of an Accept header."""

    name: str
    params: dict[str, str] = field(default_factory=dict)


def accepted(header: str) -> list[MediaType]:
    """Media types of an Accept header, the most wanted first."""
    found = []
    for part in header.split(","):
        name, *params = (piece.strip() for piece in part.split(";"))
        if name:
            pairs = dict(param.split("=", 1) for param in params if "=" in param)
            found.append(MediaType(name.lower(), pairs))
    return sorted(found, key=_unwanted)


def _unwanted(entry: MediaType) -> float:
    try:
        return -float(entry.params.get("q", "1"))
    except ValueError:
        return 0.0


_JSON_NAMES = frozenset({"application/json", "application/*", "*/*"})


def choose_form(header: str) -> Form:
    """The form of objects that an Accept header asks for.

    Raises:
        ApiError: 406, nothing in it can be produced.
    """
    entries = accepted(header or "*/*")
    for entry in entries:
        if entry.name not in _JSON_NAMES:
            continue
        wanted = entry.params.get("as")
        if wanted is None:
            return Form.OBJECT
        if entry.params.get("g") == "meta.k8s.io" and entry.params.get("v") in {"v1", "v1beta1"}:
            for form in (Form.TABLE, Form.PARTIAL, Form.PARTIAL_LIST):
                if form.value == wanted:
                    return form
    if any(entry.name in {"application/yaml", "application/vnd.kubernetes.protobuf"} for entry in entries):
        return Form.OBJECT  # clients that ask for protobuf alone read JSON too, by its content type
    raise not_acceptable("application/json")
