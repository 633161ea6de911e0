"""What the actions change in a machine's spec: pure functions from the object to a merge patch."""

from typing import Any

from proto.errors import DpuError
from proto.reasons import Reason

Object = dict[str, Any]
Patch = dict[str, Any]

ROOT_DISK = "root"
DISK_LIMIT = 16
NIC_LIMIT = 8
DISK_FIELDS = {"name", "size", "volumeRef", "protocol", "readOnly", "qos"}
NIC_FIELDS = {"name", "subnetRef", "mac", "address", "mtu"}


def set_power(machine: Object, *, on: bool) -> Patch:
    """Ask for power, or for none; an empty patch when that is already asked for.

    Raises:
        DpuError: the machine is being deleted (WRONG_STATE).
    """
    _alive(machine)
    wanted = "On" if on else "Off"
    return {} if machine["spec"].get("power", "On") == wanted else {"spec": {"power": wanted}}


def restart(machine: Object, now: str) -> Patch:
    """Ask for one restart.

    Args:
        machine: the object.
        now: the time, as it is to stand in spec.restartedAt.

    Raises:
        DpuError: the machine is off or being deleted (WRONG_STATE).
    """
    _alive(machine)
    if machine["spec"].get("power", "On") == "Off":
        raise DpuError(
            Reason.WRONG_STATE, f"machine {_name(machine)} is off", field="spec.power", remedy="start it instead"
        )
    return {"spec": {"restartedAt": now}}


def add_disk(machine: Object, entry: Object) -> Patch:
    """Ask for one more data disk; an empty patch when the very same is already there.

    Raises:
        DpuError: the entry is not one (INVALID), or another disk has its name (ALREADY_EXISTS).
    """
    _alive(machine)
    _check_entry(entry, DISK_FIELDS)
    if entry["name"] == ROOT_DISK:
        raise DpuError(Reason.INVALID, "root is the system disk", field="name", remedy="choose another name")
    if ("size" in entry) == ("volumeRef" in entry):
        raise DpuError(
            Reason.INVALID,
            f"disk {entry['name']} needs either a size or a volume",
            field="size",
            remedy="give size for a new volume, or volumeRef for an existing one",
        )
    return _add(machine, "disks", entry, DISK_LIMIT)


def add_nic(machine: Object, entry: Object) -> Patch:
    """Ask for one more NIC; an empty patch when the very same is already there.

    Raises:
        DpuError: the entry is not one (INVALID), or another NIC has its name (ALREADY_EXISTS).
    """
    _alive(machine)
    _check_entry(entry, NIC_FIELDS)
    if not isinstance(entry.get("subnetRef"), dict):
        raise DpuError(
            Reason.INVALID, f"NIC {entry['name']} has no subnet", field="subnetRef", remedy="give subnetRef.name"
        )
    return _add(machine, "nics", entry, NIC_LIMIT)


def remove(machine: Object, field: str, name: str) -> Patch:
    """Ask for one disk or NIC less.

    Args:
        machine: the object.
        field: ``disks`` or ``nics``.
        name: name of the disk or NIC.

    Raises:
        DpuError: there is none of that name (NOT_FOUND), or it is the system disk (INVALID).
    """
    if field == "disks" and name == ROOT_DISK:
        raise DpuError(
            Reason.INVALID, "the system disk stays as long as its machine", field="name", remedy="delete the machine"
        )
    entries = machine["spec"].get(field) or []
    kept = [entry for entry in entries if entry.get("name") != name]
    if len(kept) == len(entries):
        known = ", ".join(str(entry.get("name")) for entry in entries) or "none"
        raise DpuError(
            Reason.NOT_FOUND, f"machine {_name(machine)} has no {name} in spec.{field}", remedy=f"there are: {known}"
        )
    return {"spec": {field: kept}}


def _add(machine: Object, field: str, entry: Object, limit: int) -> Patch:
    entries = machine["spec"].get(field) or []
    same = next((one for one in entries if one.get("name") == entry["name"]), None)
    if same is not None:
        if all(same.get(key) == value for key, value in entry.items()):
            return {}
        raise DpuError(
            Reason.ALREADY_EXISTS,
            f"machine {_name(machine)} has another {entry['name']} in spec.{field}",
            field="name",
            remedy="choose another name, or detach that one first",
        )
    if len(entries) >= limit:
        raise DpuError(
            Reason.EXHAUSTED,
            f"machine {_name(machine)} has {limit} {field}, the most that one can have",
            field=f"spec.{field}",
            remedy="detach one first",
            retry=False,
        )
    return {"spec": {field: [*entries, entry]}}


def _check_entry(entry: Object, fields: set[str]) -> None:
    if not isinstance(entry.get("name"), str) or not entry["name"]:
        raise DpuError(Reason.INVALID, "the body has no name", field="name", remedy="give a name")
    unknown = sorted(set(entry) - fields)
    if unknown:
        raise DpuError(
            Reason.INVALID,
            f"unknown field {unknown[0]!r}",
            field=unknown[0],
            remedy=f"use: {', '.join(sorted(fields))}",
        )


def _alive(machine: Object) -> None:
    if machine["metadata"].get("deletionTimestamp"):
        raise DpuError(
            Reason.WRONG_STATE, f"machine {_name(machine)} is being deleted", remedy="create it again afterwards"
        )


def _name(machine: Object) -> str:
    return str(machine["metadata"]["name"])
