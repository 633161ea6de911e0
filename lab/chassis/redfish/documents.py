"""Resources that describe the server and its BMC. Pure: what is so goes in, the Redfish document comes out."""

from dataclasses import dataclass
from datetime import UTC, datetime

from lab.chassis.config import ChassisConfig, Firmware
from lab.chassis.host import PowerState
from lab.chassis.record import BootTarget, State
from lab.chassis.redfish.replies import Document
from lab.chassis.reset import ResetType

ROOT = "/redfish/v1"
MANAGER = "bmc"
ENABLED = {"State": "Enabled", "Health": "OK", "HealthRollup": "OK"}


@dataclass(frozen=True)
class View:
    """What the documents are made of.

    Attributes:
        boot_progress: Redfish's BootProgress.LastState.
        console_busy: a writer is on the serial console.
    """

    config: ChassisConfig
    state: State
    power: PowerState
    boot_progress: str = "None"
    console_busy: bool = False

    @property
    def system(self) -> str:
        return f"{ROOT}/Systems/{self.config.host.name}"

    @property
    def manager(self) -> str:
        return f"{ROOT}/Managers/{MANAGER}"

    @property
    def chassis(self) -> str:
        return f"{ROOT}/Chassis/{self.config.host.name}"


def link(path: str) -> Document:
    return {"@odata.id": path}


def collection(path: str, kind: str, name: str, members: list[str]) -> Document:
    """A collection with links to its members."""
    return {
        "@odata.id": path,
        "@odata.type": f"#{kind}.{kind}",
        "Name": name,
        "Members": [link(member) for member in members],
        "Members@odata.count": len(members),
    }


def resource(path: str, kind: str, name: str, fields: Document) -> Document:
    """A resource whose id is the last part of its path."""
    return {"@odata.id": path, "@odata.type": f"#{kind}", "Id": path.rsplit("/", 1)[-1], "Name": name, **fields}


def service_root(view: View) -> Document:
    """What may be read without authentication; names nothing but the model."""
    services = ("Systems", "Managers", "Chassis", "SessionService", "AccountService", "EventService")
    fields: Document = {name: link(f"{ROOT}/{name}") for name in services}
    fields |= {
        "RedfishVersion": "1.18.0",
        "UUID": view.config.host.system_uuid,
        "Product": view.config.host.model,
        "Vendor": view.config.host.manufacturer,
        "Links": {"Sessions": link(f"{ROOT}/SessionService/Sessions")},
    }
    return resource(ROOT, "ServiceRoot.v1_16_1.ServiceRoot", "Root Service", fields) | {
        "@odata.id": f"{ROOT}/",
        "Id": "RootService",
    }


def system(view: View) -> Document:
    """The computer system."""
    host, qemu = view.config.host, view.config.qemu
    fields: Document = {
        "SystemType": "Physical",
        "Manufacturer": host.manufacturer,
        "Model": host.model,
        "SerialNumber": host.serial_number or host.system_uuid.replace("-", "")[:12],
        "UUID": host.system_uuid,
        "HostName": "",
        "PowerState": view.power.value,
        "BiosVersion": qemu.firmware.value,
        "Status": ENABLED,
        "Boot": boot(view),
        "BootProgress": {"LastState": view.boot_progress, "LastStateTime": when(view.state.powered_on_at)},
        "ProcessorSummary": {
            "Count": 1,
            "CoreCount": qemu.vcpus,
            "LogicalProcessorCount": qemu.vcpus,
            "Status": ENABLED,
        },
        "MemorySummary": {"TotalSystemMemoryGiB": qemu.memory_mib / 1024, "Status": ENABLED},
        "EthernetInterfaces": link(f"{view.system}/EthernetInterfaces"),
        "Storage": link(f"{view.system}/Storage"),
        "SerialConsole": {"MaxConcurrentSessions": 1},
        "Links": {"ManagedBy": [link(view.manager)], "Chassis": [link(view.chassis)]},
        "Actions": {
            "#ComputerSystem.Reset": {
                "target": f"{view.system}/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues": [reset.value for reset in ResetType],
            }
        },
    }
    return resource(view.system, "ComputerSystem.v1_22_0.ComputerSystem", host.name, fields)


def boot(view: View) -> Document:
    """Boot override; the mode follows from the firmware and cannot be chosen."""
    override = view.state.boot
    return {
        "BootSourceOverrideEnabled": override.enabled.value,
        "BootSourceOverrideTarget": override.target.value,
        "BootSourceOverrideTarget@Redfish.AllowableValues": [target.value for target in BootTarget],
        "BootSourceOverrideMode": boot_mode(view.config.qemu.firmware),
    }


def boot_mode(firmware: Firmware) -> str:
    return "UEFI" if firmware is Firmware.OVMF else "Legacy"


def when(unix_s: float) -> str | None:
    """A time as Redfish writes it; None when it never was."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds") if unix_s else None


def manager(view: View, now: float) -> Document:
    """The BMC itself; now is Unix time in seconds."""
    fields: Document = {
        "ManagerType": "BMC",
        "Status": ENABLED,
        "PowerState": "On",
        "DateTime": when(now),
        "SerialConsole": {"ServiceEnabled": True, "MaxConcurrentSessions": 1, "ConnectTypesSupported": ["Oem"]},
        "VirtualMedia": link(f"{view.manager}/VirtualMedia"),
        "Links": {"ManagerForServers": [link(view.system)], "ManagerForChassis": [link(view.chassis)]},
        "Oem": {
            "Dpupool": {
                "ConsoleWebSocket": "/console",
                "ConsoleSubprotocol": "plain.dpupool.io",
                "ConsoleWriterPresent": view.console_busy,
            }
        },
    }
    return resource(view.manager, "Manager.v1_19_0.Manager", "BMC", fields)


def chassis(view: View) -> Document:
    """The enclosure."""
    host = view.config.host
    fields: Document = {
        "ChassisType": "RackMount",
        "Manufacturer": host.manufacturer,
        "Model": host.model,
        "PowerState": view.power.value,
        "Status": ENABLED,
        "Links": {"ComputerSystems": [link(view.system)], "ManagedBy": [link(view.manager)]},
    }
    return resource(view.chassis, "Chassis.v1_25_0.Chassis", host.name, fields)


def virtual_media(view: View) -> Document:
    """The CD drive."""
    image, path = view.state.media, f"{view.manager}/VirtualMedia/Cd"
    fields: Document = {
        "MediaTypes": ["CD", "DVD"],
        "Image": image or None,
        "ImageName": image.rsplit("/", 1)[-1] or None,
        "Inserted": bool(image),
        "ConnectedVia": "URI" if image else "NotConnected",
        "WriteProtected": True,
        "TransferMethod": "Stream",
        "Actions": {
            f"#VirtualMedia.{action}": {"target": f"{path}/Actions/VirtualMedia.{action}"}
            for action in ("InsertMedia", "EjectMedia")
        },
    }
    return resource(path, "VirtualMedia.v1_6_3.VirtualMedia", "Virtual CD", fields)


def session_service(idle_s: int) -> Document:
    path = f"{ROOT}/SessionService"
    fields: Document = {"ServiceEnabled": True, "SessionTimeout": idle_s, "Sessions": link(f"{path}/Sessions")}
    return resource(path, "SessionService.v1_1_9.SessionService", "Session Service", fields)


def account_service() -> Document:
    """Accounts come from the settings file and cannot be changed over Redfish."""
    path = f"{ROOT}/AccountService"
    return resource(path, "AccountService.v1_15_0.AccountService", "Account Service", {"ServiceEnabled": False})


def event_service() -> Document:
    """There is no event delivery; clients that ask are told so."""
    path = f"{ROOT}/EventService"
    return resource(path, "EventService.v1_10_2.EventService", "Event Service", {"ServiceEnabled": False})
