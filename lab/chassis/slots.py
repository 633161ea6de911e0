"""What is plugged into the host's PCIe slots: specifications, states, and the names QEMU knows them by.

QEMU's device and node names carry a digest of the specification, so a look at a running QEMU tells not only
that a slot is occupied but also with what; that is how a restarted chassis trusts what it finds.
"""

import enum
import hashlib
import re

import msgspec

from proto.errors import DpuError
from proto.reasons import Reason

SERIAL = re.compile(r"[!-~]{1,20}")  # both virtio-blk and NVMe carry 20 bytes
MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")
INTERFACE = re.compile(r"[^/\s,]{1,15}")
NGUID = re.compile(r"([0-9a-f]{32})?")


class Kind(enum.Enum):
    """The two kinds of PCIe functions, also the prefix of their root ports' names."""

    DISK = "disk"
    NIC = "nic"


class DiskProtocol(enum.Enum):
    """Which controller the host sees."""

    VIRTIO_BLK = "virtio-blk"
    NVME = "nvme"


class FunctionState(enum.Enum):
    """How far a function is.

    CONFIGURED: wanted, the host has it at its next power-on. PLUGGING: on its way into the running host.
    PRESENT: the running host has it. REMOVING: asked for removal, the host has not let go yet.
    """

    CONFIGURED = "configured"
    PLUGGING = "plugging"
    PRESENT = "present"
    REMOVING = "removing"


class DiskSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A disk function.

    Attributes:
        slot: index of the disk slot, from 0.
        function_id: the DPU's name for it.
        nbd_path, export: where its bytes are: NBD over a Unix socket.
        serial: what the host identifies it by.
        nguid: kept for the DPU; QEMU's hot-pluggable NVMe controller cannot show it.
        boot_order: 0 is not bootable, 1 first.
    """

    slot: int
    function_id: str
    protocol: DiskProtocol
    nbd_path: str
    export: str
    serial: str
    nguid: str = ""
    read_only: bool = False
    boot_order: int = 0

    @property
    def kind(self) -> Kind:
        return Kind.DISK


class NicSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A NIC function (VF): one end is the host's device, the other the tap that is its representor.

    Attributes:
        slot: index of the NIC slot, from 0; the VF's number.
        tap: name of the persistent tap in the namespace QEMU runs in.
        mtu: offered to the guest, bytes.
    """

    slot: int
    function_id: str
    tap: str
    mac: str
    mtu: int = 1500

    @property
    def kind(self) -> Kind:
        return Kind.NIC


FunctionSpec = DiskSpec | NicSpec


class Function(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An occupied slot as recorded: what is in it and what was asked of it since.

    Attributes:
        removing: unplug was asked; survives a restart of the chassis.
        backend_cut: the disk's connection was cut by force; its I/O fails until the host lets go.
        link_up: administrative carrier of a NIC.
    """

    disk: DiskSpec | None = None
    nic: NicSpec | None = None
    removing: bool = False
    backend_cut: bool = False
    link_up: bool = True

    @property
    def plugged(self) -> FunctionSpec:
        """The one specification that is set.

        Raises:
            DpuError: CORRUPT when neither is.
        """
        found = self.disk or self.nic
        if found is None:
            raise DpuError(Reason.CORRUPT, "an occupied slot without a specification", remedy="remove the state file")
        return found

    @staticmethod
    def of(spec: FunctionSpec) -> "Function":
        return Function(disk=spec) if isinstance(spec, DiskSpec) else Function(nic=spec)


def port_name(kind: Kind, slot: int) -> str:
    """Name of the PCIe root port of a slot."""
    return f"port-{kind.value}{slot}"


def device_name(spec: FunctionSpec) -> str:
    """QEMU's name of the device; two different specifications never share it."""
    digest = hashlib.blake2s(msgspec.json.encode(spec, order="deterministic"), digest_size=5).hexdigest()
    return f"{spec.kind.value}{spec.slot}-{digest}"


def backend_name(spec: FunctionSpec) -> str:
    """QEMU's name of the block node or network back end; at most 31 characters, as node names must be."""
    return backend_of(device_name(spec))


def backend_of(device: str) -> str:
    """The back end's name, from the device's."""
    return f"back-{device}"


def check_disk(spec: DiskSpec, slots: int) -> None:
    """Refuse a disk that QEMU could not have; INVALID names the field."""
    _check_common(spec, slots)
    if not SERIAL.fullmatch(spec.serial):
        raise invalid("serial", f"{spec.serial!r} is no serial number", "give 1 to 20 printable ASCII characters")
    if not spec.nbd_path.startswith("/") or len(spec.nbd_path) > 107:
        raise invalid("nbd_path", f"{spec.nbd_path!r} is no socket path", "give an absolute path of at most 107 bytes")
    if not 1 <= len(spec.export) <= 255:
        raise invalid("export", "the export's name is empty or too long", "give 1 to 255 characters")
    if not NGUID.fullmatch(spec.nguid):
        raise invalid("nguid", f"{spec.nguid!r} is no NGUID", "give 32 lower-case hex digits, or nothing")
    if not 0 <= spec.boot_order <= 100:
        raise invalid("boot_order", f"{spec.boot_order} is out of bounds", "give 0 (not bootable) to 100")


def check_nic(spec: NicSpec, slots: int) -> None:
    """Refuse a NIC that QEMU could not have; INVALID names the field."""
    _check_common(spec, slots)
    if not MAC.fullmatch(spec.mac):
        raise invalid("mac", f"{spec.mac!r} is no unicast MAC address", "give it in lower case with colons")
    if not INTERFACE.fullmatch(spec.tap):
        raise invalid("tap", f"{spec.tap!r} is no interface name", "give the name of the VF's representor")
    if not 68 <= spec.mtu <= 65535:
        raise invalid("mtu", f"{spec.mtu} is out of bounds", "give 68 to 65535")


def _check_common(spec: FunctionSpec, slots: int) -> None:
    if not 0 <= spec.slot < slots:
        raise invalid("slot", f"there is no {spec.kind.value} slot {spec.slot}", f"give 0 to {slots - 1}")
    if not 1 <= len(spec.function_id) <= 128:
        raise invalid("function_id", "the function needs an id", "give 1 to 128 characters")


def invalid(field: str, message: str, remedy: str) -> DpuError:
    """The error for one wrong field."""
    return DpuError(Reason.INVALID, message, field=field, remedy=remedy)
