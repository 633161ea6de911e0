"""Names, labels and the rest of metadata, checked with the sentences of a Kubernetes API server."""

import re
import secrets
from collections.abc import Iterator
from typing import Any

from coordinator.api.errors import Cause, CauseType
from coordinator.api.objects import Obj
from coordinator.api.validation import show

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_QUALIFIED})?"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words by accident

SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_QUALIFIED}')"
)
ANNOTATIONS_LIMIT_BYTES = 256 * 1024


def generate(stem: str) -> str:
    """A name from metadata.generateName; the suffix is random."""
    return stem[:58] + "".join(secrets.choice(_ALPHABET) for _ in range(5))


def _invalid(field: str, value: Any, why: str) -> Cause:
    return Cause(CauseType.INVALID, field, f"Invalid value: {show(value)}: {why}")


def check_name(name: str, *, label: bool) -> Iterator[Cause]:
    """What is wrong with metadata.name."""
    longest = 63 if label else 253
    if len(name) > longest:
        yield _invalid("metadata.name", name, f"must be no more than {longest} bytes")
    if not re.fullmatch(_LABEL if label else _SUBDOMAIN, name):
        yield _invalid("metadata.name", name, LABEL_RULE if label else SUBDOMAIN_RULE)


def _check_key(key: str, field: str) -> Iterator[Cause]:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not re.fullmatch(_SUBDOMAIN, prefix)):
        yield _invalid(field, key, f"prefix part {SUBDOMAIN_RULE}")
    if not name:
        yield _invalid(field, key, "name part must be non-empty")
    elif len(name) > 63:
        yield _invalid(field, key, "name part must be no more than 63 bytes")
    elif not re.fullmatch(_QUALIFIED, name):
        yield _invalid(field, key, KEY_RULE)


def _check_map(meta: Obj, name: str) -> Iterator[Cause]:
    field, found = f"metadata.{name}", meta.get(name)
    if found is None:
        return
    if not isinstance(found, dict):
        yield Cause(CauseType.TYPE, field, f'Invalid value: "{type(found).__name__}": {field} must be a map of strings')
        return
    for key, value in found.items():
        yield from _check_key(key.lower() if name == "annotations" else key, field)
        if not isinstance(value, str):
            yield Cause(CauseType.TYPE, f"{field}.{key}", f"Invalid value: {show(value)}: must be a string")
        elif name == "labels" and (len(value) > 63 or not re.fullmatch(_VALUE, value)):
            yield _invalid(field, value, "must be no more than 63 bytes" if len(value) > 63 else VALUE_RULE)
    if (
        name == "annotations"
        and sum(len(key) + len(str(value)) for key, value in found.items()) > ANNOTATIONS_LIMIT_BYTES
    ):
        yield Cause(CauseType.TOO_LONG, field, f"Too long: may not be more than {ANNOTATIONS_LIMIT_BYTES} bytes")


def _check_owners(meta: Obj) -> Iterator[Cause]:
    found = meta.get("ownerReferences") or []
    for index, owner in enumerate(found if isinstance(found, list) else [None]):
        field = f"metadata.ownerReferences[{index}]"
        if not isinstance(owner, dict):
            yield _invalid(field, owner, "must be an object")
            continue
        for name in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(name):
                yield Cause(CauseType.INVALID, f"{field}.{name}", f'Invalid value: "": {name} must not be empty')
    controllers = [owner for owner in found if isinstance(owner, dict) and owner.get("controller") is True]
    if len(controllers) > 1:
        why = "Only one reference can have Controller set to true"
        yield _invalid("metadata.ownerReferences", controllers, why)


def _check_finalizers(meta: Obj) -> Iterator[Cause]:
    found = meta.get("finalizers") or []
    for index, name in enumerate(found if isinstance(found, list) else [None]):
        field = f"metadata.finalizers[{index}]"
        if not isinstance(name, str):
            yield _invalid(field, name, "must be a string")
        else:
            yield from _check_key(name, field)


def check_metadata(meta: Obj, *, label: bool) -> list[Cause]:
    """Everything that is wrong with an object's metadata.

    Args:
        meta: the metadata, with its final name.
        label: whether names of this kind are DNS labels rather than subdomains.
    """
    name = meta.get("name")
    found: list[Cause] = []
    if not name:
        found.append(Cause(CauseType.REQUIRED, "metadata.name", "Required value: name or generateName is required"))
    elif not isinstance(name, str):
        found.append(_invalid("metadata.name", name, "must be a string"))
    else:
        found += check_name(name, label=label)
    found += [*_check_map(meta, "labels"), *_check_map(meta, "annotations"), *_check_owners(meta)]
    return [*found, *_check_finalizers(meta)]
