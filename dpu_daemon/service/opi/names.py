"""Resource names of the OPI API: `collection/id`, or `collection/id/collection/id` for what lives in something."""

import re
import uuid
from enum import Enum

from dpu_daemon.model.opi import REMOTE_NAMESPACES, OpiKind
from dpu_daemon.plan.opi_conflicts import PARENT_OF
from dpu_daemon.service.validation import invalid

_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
ID_REMEDY = "use 1 to 63 letters, digits, '.', '_' or '-', with a letter or digit at both ends"


def pattern(kind: Enum) -> str:
    """How names of a collection look, such as ``nvmeSubsystems/{id}/nvmeNamespaces/{id}``."""
    parent = PARENT_OF.get(kind)
    return f"{parent.value}/{{id}}/{kind.value}/{{id}}" if parent else f"{kind.value}/{{id}}"


def check_name(field: str, name: str, kind: Enum) -> str:
    """A full resource name of this collection.

    Raises:
        DpuError: INVALID naming the field and the pattern.
    """
    return _check(field, name, pattern(kind))


def check_parent(field: str, name: str, kind: Enum) -> str:
    """The parent of a collection; empty for one that has none."""
    parent = PARENT_OF.get(kind)
    return _check(field, name, pattern(parent)) if parent else ""


def check_remote_namespace(field: str, name: str) -> str:
    """A full resource name of a remote namespace."""
    return _check(field, name, f"{OpiKind.REMOTE_CONTROLLER.value}/{{id}}/{REMOTE_NAMESPACES}/{{id}}")


_VOLUMES = (
    *(
        pattern(kind)
        for kind in (
            OpiKind.NULL_VOLUME,
            OpiKind.MALLOC_VOLUME,
            OpiKind.AIO_VOLUME,
            OpiKind.ENCRYPTED_VOLUME,
            OpiKind.QOS_VOLUME,
        )
    ),
    f"{OpiKind.REMOTE_CONTROLLER.value}/{{id}}/{REMOTE_NAMESPACES}/{{id}}",
)


def check_volume(field: str, name: str, *, limits_too: bool = True) -> str:
    """The resource name of something with a block device beneath; `limits_too` when QoS volumes count.

    Raises:
        DpuError: INVALID naming the field and the collections.
    """
    patterns = [each for each in _VOLUMES if limits_too or not each.startswith(OpiKind.QOS_VOLUME.value)]
    if not any(_fits(name, each) for each in patterns):
        raise invalid(field, f"{name[:80]!r} is not the name of a volume", f"use one like {', '.join(patterns)}")
    return name


def chosen_name(field: str, parent: str, kind: Enum, resource_id: str) -> str:
    """The name of a new object; an id is made when the caller gives none.

    Raises:
        DpuError: INVALID naming the field.
    """
    if resource_id and not _ID.fullmatch(resource_id):
        raise invalid(field, f"{resource_id[:40]!r} is not a resource id", ID_REMEDY)
    own = f"{kind.value}/{resource_id or uuid.uuid4()}"
    return f"{parent}/{own}" if parent else own


def _check(field: str, name: str, wanted: str) -> str:
    if not name:
        raise invalid(field, "is empty", f"send a name like {wanted}")
    if not _fits(name, wanted):
        raise invalid(field, f"{name[:80]!r} is not a name like {wanted}", ID_REMEDY)
    return name


def _fits(name: str, wanted: str) -> bool:
    has, needs = name.split("/"), wanted.split("/")
    return len(has) == len(needs) and all(
        _ID.fullmatch(one) if two == "{id}" else one == two for one, two in zip(has, needs, strict=True)
    )
