"""The QEMU command line of a host and the QMP arguments of its devices. Pure: no file is touched."""

import json
from dataclasses import dataclass, field

from lab.chassis.config import Accelerator, ChassisConfig, Firmware
from lab.chassis.record import BootTarget
from lab.chassis.slots import (
    DiskProtocol,
    Function,
    FunctionSpec,
    Kind,
    NicSpec,
    backend_name,
    device_name,
    port_name,
)

Arguments = dict[str, object]

QMP_FD, SERIAL_FD = 10, 11  # the listening sockets that the child inherits
CD_DEVICE = "cd0"
FIRST_ROOT_PORT = 2  # device numbers 0 and 1 are the host bridge's and kept free for graphics
FIRST_DISK_INDEX, LAST_INDEX = 32, 1_000_000  # below: NICs by slot, and a CD that is asked for
RECONNECT_DELAY_S, OPEN_TIMEOUT_S = 60, 5  # the disk's I/O waits so long for a DPU that restarts

# A representor's software switch computes no checksums and splits no segments for the host.
NIC_OFFLOADS_OFF = dict.fromkeys(
    (
        "csum", "gso", "guest_csum", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo",
        "host_tso4", "host_tso6", "host_ecn", "host_ufo",
    ),
    False,
)  # fmt: skip


@dataclass(frozen=True)
class Boot:
    """What one power-on starts with.

    Attributes:
        functions: disks and NICs that are in their slots.
        target: boot override of this boot.
        media: file name or URL of the inserted CD; empty: an empty tray.
    """

    functions: tuple[Function, ...] = ()
    target: BootTarget = BootTarget.NONE
    media: str = ""


@dataclass
class CommandLine:
    """Options in order."""

    words: list[str] = field(default_factory=list)

    def add(self, option: str, value: str | Arguments) -> None:
        self.words += [f"-{option}", value if isinstance(value, str) else json.dumps(value)]


def command_line(config: ChassisConfig, boot: Boot) -> list[str]:
    """Everything after nsenter and before QEMU's own work: binary and options."""
    line = CommandLine([config.qemu.binary])
    _add_mainboard(line, config)
    _add_channels(line, config)
    for kind, slots in ((Kind.DISK, config.qemu.disk_slots), (Kind.NIC, config.qemu.nic_slots)):
        first = 0 if kind is Kind.DISK else config.qemu.disk_slots
        for slot in range(slots):
            line.add("device", _root_port(kind, slot, first + slot))
    for function in boot.functions:
        option, back_end = backend_arguments(function.plugged)
        line.add(option, back_end)
        line.add("device", device_arguments(function.plugged, boot.target))
    _add_cd(line, boot)
    return line.words


def _add_mainboard(line: CommandLine, config: ChassisConfig) -> None:
    qemu = config.qemu
    line.words += ["-no-user-config", "-nodefaults", "-display", "none"]
    for folder in qemu.data_dirs:
        line.add("L", folder)
    line.add("name", f"{config.host.name},process=host-{config.host.name}")
    line.add("uuid", config.host.system_uuid)
    graphics = "off" if qemu.firmware is Firmware.SEABIOS else "on"  # off: SeaBIOS speaks on the serial port
    line.add("machine", f"q35,accel={qemu.accel.value},graphics={graphics}")
    line.add("cpu", qemu.cpu or ("host" if qemu.accel is Accelerator.KVM else "qemu64"))
    line.add("smp", str(qemu.vcpus))
    line.add("m", f"{qemu.memory_mib}M")
    line.add("boot", "strict=on")  # a disk without a boot order, such as the cloud-init seed, is never booted
    line.add("smbios", _smbios(config))
    if qemu.firmware is Firmware.OVMF:
        line.add("drive", f"if=pflash,unit=0,format=raw,readonly=on,file={qemu.ovmf_code}")
        line.add("drive", f"if=pflash,unit=1,format=raw,file={config.run_path / 'ovmf-vars.fd'}")
    line.add("object", {"qom-type": "rng-random", "id": "entropy", "filename": "/dev/urandom"})
    line.add("device", {"driver": "virtio-rng-pci", "rng": "entropy", "bus": "pcie.0", "addr": "0x1e"})
    line.add("sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")


def _smbios(config: ChassisConfig) -> str:
    host = config.host
    serial = host.serial_number or host.system_uuid.replace("-", "")[:12]
    values = {"manufacturer": host.manufacturer, "product": host.model, "serial": serial}
    return ",".join(["type=1", *(f"{key}={value.replace(',', ',,')}" for key, value in values.items())])


def _add_channels(line: CommandLine, config: ChassisConfig) -> None:
    line.add("pidfile", str(pid_file(config)))
    line.add("chardev", f"socket,id=qmp,fd={QMP_FD},server=on,wait=off")
    line.add("mon", "chardev=qmp,mode=control")
    log = config.run_path / "console.log"
    line.add("chardev", f"socket,id=serial,fd={SERIAL_FD},server=on,wait=off,logfile={log},logappend=on")
    line.add("serial", "chardev:serial")


def pid_file(config: ChassisConfig) -> str:
    """Where QEMU writes its process id; also what marks a process as this host's."""
    return str(config.run_path / "qemu.pid")


def _root_port(kind: Kind, slot: int, index: int) -> Arguments:
    return {
        "driver": "pcie-root-port",
        "id": port_name(kind, slot),
        "bus": "pcie.0",
        "addr": hex(FIRST_ROOT_PORT + index),
        "chassis": index + 1,
        "slot": index + 1,
        "io-reserve": 0,  # nothing behind it uses I/O ports, and 64 KiB would not do for all
    }


def boot_index(spec: FunctionSpec, target: BootTarget) -> int | None:
    """Place of a function in the boot order, lowest first; None when it is never booted.

    It depends on nothing but the function, so that one plugged later never meets an index that is taken.
    """
    if isinstance(spec, NicSpec):
        return 1 + spec.slot if target is BootTarget.PXE else None
    return spec.boot_order * FIRST_DISK_INDEX + spec.slot if spec.boot_order else None


def cd_index(target: BootTarget) -> int | None:
    """Place of the CD drive in the boot order: last, unless asked for."""
    return {BootTarget.NONE: LAST_INDEX, BootTarget.CD: 1}.get(target)


def backend_arguments(spec: FunctionSpec) -> tuple[str, Arguments]:
    """The option, and QMP arguments, of a device's back end."""
    if isinstance(spec, NicSpec):
        return "netdev", {
            "type": "tap", "id": backend_name(spec), "ifname": spec.tap,
            "script": "no", "downscript": "no", "vnet_hdr": False,
        }  # fmt: skip
    return "blockdev", {
        "driver": "nbd",
        "node-name": backend_name(spec),
        "server": {"type": "unix", "path": spec.nbd_path},
        "export": spec.export,
        "read-only": spec.read_only,
        "discard": "unmap",
        "reconnect-delay": RECONNECT_DELAY_S,
        "open-timeout": OPEN_TIMEOUT_S,
    }


def device_arguments(spec: FunctionSpec, target: BootTarget = BootTarget.NONE) -> Arguments:
    """Arguments of -device and of device_add alike."""
    arguments: Arguments = {"id": device_name(spec), "bus": port_name(spec.kind, spec.slot)}
    index = boot_index(spec, target)
    if index is not None:
        arguments["bootindex"] = index
    if isinstance(spec, NicSpec):
        arguments |= {"driver": "virtio-net-pci", "netdev": backend_name(spec), "mac": spec.mac, "host_mtu": spec.mtu}
        arguments |= {**NIC_OFFLOADS_OFF}
        return arguments if index is not None else arguments | {"romfile": ""}  # the boot ROM costs time
    driver = "virtio-blk-pci" if spec.protocol is DiskProtocol.VIRTIO_BLK else "nvme"
    return arguments | {"driver": driver, "drive": backend_name(spec), "serial": spec.serial}


def _add_cd(line: CommandLine, boot: Boot) -> None:
    device: Arguments = {"driver": "ide-cd", "id": CD_DEVICE, "bus": "ide.0"}
    index = cd_index(boot.target)
    if index is not None:
        device["bootindex"] = index
    if boot.media:
        protocol = boot.media.partition("://")[0]
        source: Arguments = (
            {"driver": protocol, "url": boot.media}
            if protocol in {"http", "https"}
            else {"driver": "file", "filename": boot.media}
        )
        line.add("blockdev", {"driver": "raw", "node-name": "cd-media", "read-only": True, "file": source})
        device["drive"] = "cd-media"
    line.add("device", device)
