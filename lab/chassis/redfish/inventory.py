"""Resources that describe what the DPU has plugged in: NICs, and the disks as drives. Pure."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from lab.chassis.bus import Presence
from lab.chassis.redfish.documents import View, collection, link, resource
from lab.chassis.redfish.replies import Document
from lab.chassis.slots import DiskProtocol, DiskSpec, FunctionState, NicSpec
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")


def status(presence: Presence) -> Document:
    """Redfish's Status of a function."""
    if presence.function.backend_cut:
        return {"State": "UnavailableOffline", "Health": "Critical"}
    states = {
        FunctionState.PRESENT: "Enabled",
        FunctionState.CONFIGURED: "Enabled",
        FunctionState.PLUGGING: "Starting",
        FunctionState.REMOVING: "Disabled",
    }
    return {"State": states[presence.state], "Health": "OK"}


def nics(presences: Sequence[Presence]) -> dict[str, tuple[Presence, NicSpec]]:
    """NICs by resource id."""
    return {f"nic{spec.slot}": (seen, spec) for seen in presences if (spec := seen.function.nic)}


def disks(presences: Sequence[Presence]) -> dict[str, tuple[Presence, DiskSpec]]:
    """Disks by resource id."""
    return {f"disk{spec.slot}": (seen, spec) for seen in presences if (spec := seen.function.disk)}


def find(table: Mapping[str, T], identity: str) -> T:
    """A function by resource id.

    Raises:
        DpuError: NOT_FOUND.
    """
    if identity not in table:
        raise DpuError(Reason.NOT_FOUND, f"there is no {identity}", remedy="read the collection again")
    return table[identity]


def interfaces(view: View, presences: Sequence[Presence]) -> Document:
    path = f"{view.system}/EthernetInterfaces"
    members = [f"{path}/{identity}" for identity in nics(presences)]
    return collection(path, "EthernetInterfaceCollection", "Ethernet Interfaces", members)


def interface(view: View, identity: str, plugged: tuple[Presence, NicSpec]) -> Document:
    presence, spec = plugged
    fields: Document = {
        "MACAddress": spec.mac,
        "PermanentMACAddress": spec.mac,
        "MTUSize": spec.mtu,
        "LinkStatus": "LinkUp" if presence.function.link_up else "LinkDown",
        "InterfaceEnabled": presence.present,
        "Status": status(presence),
    }
    path = f"{view.system}/EthernetInterfaces/{identity}"
    return resource(path, "EthernetInterface.v1_12_0.EthernetInterface", f"VF {spec.slot}", fields)


def storages(view: View) -> Document:
    path = f"{view.system}/Storage"
    return collection(path, "StorageCollection", "Storage", [f"{path}/dpu"])


def storage(view: View, presences: Sequence[Presence]) -> Document:
    """All disks hang on the DPU."""
    path = f"{view.system}/Storage/dpu"
    drives = [link(f"{path}/Drives/{identity}") for identity in disks(presences)]
    fields: Document = {
        "Drives": drives,
        "Drives@odata.count": len(drives),
        "Status": {"State": "Enabled", "Health": "OK"},
    }
    return resource(path, "Storage.v1_15_1.Storage", "Disks of the DPU", fields)


def drive(view: View, identity: str, plugged: tuple[Presence, DiskSpec]) -> Document:
    """One disk; its size is known while the host runs."""
    presence, spec = plugged
    protocol = "NVMe" if spec.protocol is DiskProtocol.NVME else "PCIe"
    fields: Document = {
        "SerialNumber": spec.serial,
        "Model": spec.protocol.value,
        "Protocol": protocol,
        "MediaType": "SSD",
        "CapacityBytes": presence.size_bytes,
        "BlockSizeBytes": 512,
        "Status": status(presence),
        "Identifiers": [{"DurableNameFormat": "NGUID", "DurableName": spec.nguid}] if spec.nguid else [],
    }
    path = f"{view.system}/Storage/dpu/Drives/{identity}"
    return resource(path, "Drive.v1_17_0.Drive", f"Disk in slot {spec.slot}", fields)
