"""How kubelet and container runtimes name the groups of pods, with the cgroupfs and with the systemd driver.

cgroupfs: ``kubepods/burstable/pod<uid>/<container>``; systemd: ``kubepods.slice/kubepods-burstable.slice/
kubepods-burstable-pod<uid>.slice/<runtime>-<container>.scope``, with the uid's dashes as underscores. A Guaranteed pod
lies right below the root. Source: pkg/kubelet/cm of Kubernetes, and what containerd 1.6 to 2.1 makes.
"""

import re
from dataclasses import dataclass
from enum import Enum

from dpu_daemon.model.cgroup import Layer, QosClass

ROOT = "kubepods"


class NameDriver(Enum):
    """Who names groups; kubelet and runtime must agree on it."""

    CGROUPFS = "cgroupfs"
    SYSTEMD = "systemd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a directory's name says."""

    layer: Layer
    qos: QosClass
    pod_uid: str = ""
    container_id: str = ""


_CLASSES = {"burstable": QosClass.BURSTABLE, "besteffort": QosClass.BEST_EFFORT}

_FS_POD = re.compile(r"pod(?P<uid>[0-9a-zA-Z][0-9a-zA-Z-]{0,62})")
_FS_CONTAINER = re.compile(r"(?P<id>[0-9a-zA-Z][0-9a-zA-Z_.-]{0,127})")
_SLICE_CLASS = re.compile(r"kubepods-(?P<name>burstable|besteffort)\.slice")
_SLICE_POD = re.compile(r"kubepods(-burstable|-besteffort)?-pod(?P<uid>[0-9a-zA-Z][0-9a-zA-Z_]{0,62})\.slice")
_SCOPE = re.compile(
    r"(cri-containerd|crio|docker|libpod|[a-z][a-z0-9]*)-(?P<id>[0-9a-zA-Z][0-9a-zA-Z_.]{0,127})\.scope"
)


def root_name(driver: NameDriver) -> str:
    """The directory of all pods."""
    return f"{ROOT}.slice" if driver is NameDriver.SYSTEMD else ROOT


def read_name(driver: NameDriver, name: str, parent: Named | None) -> Named | None:
    """What a directory below `parent` is; None for one that is not a pod's, such as one that a container made.

    Args:
        parent: of the directory above; None for the root of all pods.
    """
    if parent is None:
        return _below_root(driver, name, QosClass.GUARANTEED, classes=True)
    if parent.layer is Layer.QOS:
        return _below_root(driver, name, parent.qos, classes=False)
    if parent.layer is Layer.POD:
        pattern = _SCOPE if driver is NameDriver.SYSTEMD else _FS_CONTAINER
        found = pattern.fullmatch(name)
        if found:
            return Named(layer=Layer.CONTAINER, qos=parent.qos, pod_uid=parent.pod_uid, container_id=found["id"])
    return None


def _below_root(driver: NameDriver, name: str, qos: QosClass, *, classes: bool) -> Named | None:
    systemd = driver is NameDriver.SYSTEMD
    if classes:
        found = _SLICE_CLASS.fullmatch(name) if systemd else None
        of_class = _CLASSES.get(found["name"] if found else name if not systemd else "")
        if of_class:
            return Named(layer=Layer.QOS, qos=of_class)
    pod = (_SLICE_POD if systemd else _FS_POD).fullmatch(name)
    if not pod:
        return None
    return Named(layer=Layer.POD, qos=qos, pod_uid=pod["uid"].replace("_", "-") if systemd else pod["uid"])
