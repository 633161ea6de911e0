"""What cannot be meant in the settings of virtual functions."""

import re
from pathlib import Path

from dpu_daemon.config_net import VfKind, VfsSection
from proto.errors import DpuError
from proto.reasons import Reason

MOST = 1024
"""Functions of one physical function; no card has more."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_RESOURCE_LENGTH = 63
"""So that our socket's path, which has the resource's name in it, stays within the 107 bytes of a Unix socket's."""


def check_vfs(path: Path, section: VfsSection) -> None:
    """Refuse what cannot be meant.

    Raises:
        DpuError: INVALID naming file and key.
    """
    wrong = _first_wrong(section)
    if wrong is not None:
        key, what = wrong
        raise DpuError(Reason.INVALID, f"{path}: {what}", field=f"vfs.{key}", remedy=f"correct vfs.{key}")


def _first_wrong(section: VfsSection) -> tuple[str, str] | None:
    emulated = section.driver is VfKind.NETDEVS
    resource = section.resource
    paths = ("kubelet_dir", "device_info", "sysfs", "pod_resources")
    relative = [key for key in paths if getattr(section, key) != Path() and not getattr(section, key).is_absolute()]
    found = (
        ("pf", "the driver sysfs needs it", not emulated and not section.pf),
        ("pattern", "has no {n} for the index of the function", emulated and "{n}" not in section.pattern),
        ("count", "the driver netdevs needs it", emulated and section.count < 1),
        ("count", f"{section.count} is not between 0 and {MOST}", not 0 <= section.count <= MOST),
        ("pattern", "is longer than the 15 characters of a device", emulated and _longest(section) > 15),
        ("resource", f"{resource!r} is no DOMAIN/NAME", bool(resource) and not _NAME.fullmatch(resource)),
        ("resource", f"is longer than {_RESOURCE_LENGTH} characters", len(resource) > _RESOURCE_LENGTH),
        *((key, f"{getattr(section, key)} is not absolute", True) for key in relative),
    )
    return next(((key, what) for key, what, is_wrong in found if is_wrong), None)


def _longest(section: VfsSection) -> int:
    return len(section.pattern.replace("{n}", str(max(0, section.count - 1))))
