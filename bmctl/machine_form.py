"""A BareMetalMachine from the flags of `bmctl create machine`."""

from dataclasses import dataclass
from pathlib import Path

from bmctl.kinds import MACHINE
from bmctl.objects import Object
from proto.errors import DpuError
from proto.reasons import Reason

NIC_KEYS = {"name": "name", "ip": "address", "mac": "mac", "mtu": "mtu"}
DISK_KEYS = {"size": "size", "volume": "volume", "protocol": "protocol"}


@dataclass(frozen=True)
class MachineForm:
    """The flags, as typed."""

    name: str
    image: str
    size: str | None
    nics: tuple[str, ...]
    disks: tuple[str, ...]
    user_data: Path | None
    host: str | None
    labels: tuple[str, ...]
    cpus: int | None
    memory_mib: int | None
    off: bool

    def manifest(self) -> Object:
        """The object that they describe.

        Raises:
            DpuError: a flag cannot be read (INVALID, with the flag as field).
        """
        spec: Object = {"image": self.image}
        if self.host:
            spec["hostRef"] = {"name": self.host}
        resources = {"cpus": self.cpus, "memoryMiB": self.memory_mib}
        if any(resources.values()):
            spec["resources"] = {key: value for key, value in resources.items() if value}
        if self.size:
            spec["rootDisk"] = {"size": self.size}
        if self.disks:
            spec["disks"] = [disk_entry(text) for text in self.disks]
        if self.nics:
            spec["nics"] = [nic_entry(text, f"eth{number}") for number, text in enumerate(self.nics)]
        if self.user_data:
            spec["userData"] = _read(self.user_data)
        if self.off:
            spec["power"] = "Off"
        metadata: Object = {"name": self.name}
        if self.labels:
            metadata["labels"] = dict(_pair(text, "--label") for text in self.labels)
        return {"apiVersion": MACHINE.api_version, "kind": MACHINE.kind, "metadata": metadata, "spec": spec}


def nic_entry(text: str, name: str) -> Object:
    """An entry of spec.nics from ``SUBNET[,name=][,ip=][,mac=][,mtu=]``.

    Args:
        text: as typed.
        name: name when the text has none.
    """
    subnet, *options = text.split(",")
    if not subnet or "=" in subnet:
        raise _wrong("--nic", text, "begin with the subnet, such as lab,ip=10.77.0.20")
    entry: Object = {"name": name, "subnetRef": {"name": subnet}}
    for key, value in (_pair(option, "--nic") for option in options):
        if key not in NIC_KEYS:
            raise _wrong("--nic", text, f"use one of: {', '.join(NIC_KEYS)}")
        entry[NIC_KEYS[key]] = _whole(value, "--nic") if key == "mtu" else value
    return entry


def disk_entry(text: str) -> Object:
    """An entry of spec.disks from ``NAME=SIZE[,protocol=]`` or ``NAME,volume=VOLUME[,protocol=]``."""
    head, *options = text.split(",")
    name, equals, size = head.partition("=")
    entry: Object = {"name": name}
    if equals:
        entry["size"] = size
    for key, value in (_pair(option, "--disk") for option in options):
        if key not in DISK_KEYS:
            raise _wrong("--disk", text, f"use one of: {', '.join(DISK_KEYS)}")
        if key == "volume":
            entry["volumeRef"] = {"name": value}
        else:
            entry[key] = value
    if not name or ("size" in entry) == ("volumeRef" in entry):
        raise _wrong("--disk", text, "give NAME=SIZE for a new volume, or NAME,volume=VOLUME for an existing one")
    return entry


def _pair(text: str, flag: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise _wrong(flag, text, "write KEY=VALUE")
    return key, value


def _whole(text: str, flag: str) -> int:
    if not text.isdecimal():
        raise _wrong(flag, text, "give a whole number")
    return int(text)


def _wrong(flag: str, text: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, f"{flag} {text!r} cannot be read", field=flag, remedy=remedy)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DpuError(
            Reason.INVALID, f"{path} cannot be read: {error}", field="--user-data", remedy="check the file"
        ) from error
