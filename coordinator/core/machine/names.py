"""Names, labels and ids of what belongs to a machine: the same each time they are asked for."""

import re
from uuid import UUID, uuid5

from coordinator.core.objects.machine import Machine

ROOT = "root"
LABEL = "dpupool.io/machine"
UID_LABEL = "dpupool.io/machine-uid"
FINALIZER = "dpupool.io/machine"


def owned_name(machine: Machine, disk: str) -> str:
    """Name of a disk's Volume and VolumeAttachment."""
    return f"{machine.metadata.name}-{disk}"


def disk_name(machine: Machine, owned: str) -> str:
    """Name of the disk whose Volume or VolumeAttachment is called `owned`."""
    return owned.removeprefix(f"{machine.metadata.name}-")


def port_id(machine_uid: str, nic: str) -> str:
    """Id of a NIC's port on the DPU and on the switch."""
    return str(uuid5(UUID(machine_uid), nic))


def is_label(text: str) -> bool:
    """Whether `text` may be a label's value."""
    return len(text) <= 63 and bool(re.fullmatch(r"[a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?", text))


def count(number: int, noun: str) -> str:
    """`number` things in words, such as ``2 disks``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
