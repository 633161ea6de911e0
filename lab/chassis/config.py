"""The settings of one chassis, read from a TOML file; every refusal names the key."""

import enum
import ipaddress
import os
import re
import uuid
from pathlib import Path

import msgspec

from proto.errors import DpuError
from proto.reasons import Reason

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
SOCKET_PATH_LIMIT = 100  # sun_path holds 107 bytes; the longest name that is added below is pcie.sock
ROOT_PORT_LIMIT = 24  # device numbers 2 to 25 of the root bus


class Accelerator(enum.Enum):
    """How guest instructions are executed."""

    TCG = "tcg"
    KVM = "kvm"


class Firmware(enum.Enum):
    """What runs when the host is powered on."""

    SEABIOS = "seabios"
    OVMF = "ovmf"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file; unknown keys are refused because they are usually misspelt ones."""


class HostSection(Section, frozen=True):
    """``[host]``: who the server is.

    Attributes:
        name: id of the Redfish system, such as ``host-1``.
        system_uuid: what the guest and Redfish read as the machine's UUID.
        serial_number: default: the first 12 digits of the UUID.
    """

    name: str
    system_uuid: str
    manufacturer: str = "dpupool"
    model: str = "Emulated Server"
    serial_number: str = ""


class QemuSection(Section, frozen=True):
    """``[qemu]``: the mainboard.

    Attributes:
        binary: QEMU system emulator; may lie in a folder of an unpacked package.
        data_dirs: folders with firmware, each given to QEMU by -L; empty: QEMU's own.
        module_dir: QEMU_MODULE_DIR, for an unpacked package.
        netns: path of the network namespace to run in, where the taps are; empty: this process's own.
        cpu: QEMU CPU model; empty: qemu64 under TCG (quickest to boot), host under KVM.
        disk_slots, nic_slots: PCIe root ports made at power-on; what is hot-plugged needs one.
        power_on_timeout_s: from start to a QMP greeting; an absent disk backend costs 5 s of it.
    """

    binary: str = "/usr/bin/qemu-system-x86_64"
    data_dirs: tuple[str, ...] = ()
    module_dir: str = ""
    accel: Accelerator = Accelerator.TCG
    cpu: str = ""
    vcpus: int = 1
    memory_mib: int = 512
    firmware: Firmware = Firmware.SEABIOS
    ovmf_code: str = "/usr/share/OVMF/OVMF_CODE_4M.fd"
    ovmf_vars: str = "/usr/share/OVMF/OVMF_VARS_4M.fd"
    netns: str = ""
    disk_slots: int = 8
    nic_slots: int = 4
    power_on_timeout_s: float = 30.0


class BmcSection(Section, frozen=True):
    """``[bmc]``: the Redfish service.

    Attributes:
        address: numeric address to listen on; port: 0 picks a free one.
        password, password_file: exactly one of them.
        tls_cert_file, tls_key_file: PEM; required unless plain_http is set.
        client_ca_file: when set, clients must also show a certificate of this authority.
        media_dir: the only folder from which file: images may be inserted; empty: none.
        session_idle_s: a Redfish session ends after so many seconds without a request.
    """

    username: str
    password: str = ""
    password_file: str = ""
    address: str = "127.0.0.1"
    port: int = 443
    tls_cert_file: str = ""
    tls_key_file: str = ""
    client_ca_file: str = ""
    plain_http: bool = False
    media_dir: str = ""
    session_idle_s: int = 1800


class ConsoleSection(Section, frozen=True):
    """``[console]``: memory bounds of the serial console.

    Attributes:
        scrollback_bytes: what a new viewer is shown.
        viewer_backlog_bytes: a viewer that is further behind is cut off.
        log_limit_bytes: a longer console.log is cut down to the scroll-back; a guest cannot fill the disk by it.
    """

    scrollback_bytes: int = 256 * 1024
    viewer_backlog_bytes: int = 1024 * 1024
    log_limit_bytes: int = 4 * 1024 * 1024


class ChassisConfig(Section, frozen=True):
    """The whole file.

    Attributes:
        run_dir: private folder for sockets, state and logs; made when missing.
        pcie_socket: path of the PCIe link; empty: pcie.sock in run_dir.
        stop_host_on_exit: True powers the host off when this process is told to stop; False leaves it running.
    """

    run_dir: str
    host: HostSection
    bmc: BmcSection
    qemu: QemuSection = QemuSection()
    console: ConsoleSection = ConsoleSection()
    pcie_socket: str = ""
    stop_host_on_exit: bool = False

    @property
    def run_path(self) -> Path:
        return Path(self.run_dir)

    @property
    def pcie_path(self) -> Path:
        return Path(self.pcie_socket) if self.pcie_socket else self.run_path / "pcie.sock"

    @property
    def bmc_password(self) -> str:
        """The password, from wherever it is configured."""
        if self.bmc.password:
            return self.bmc.password
        try:
            password = Path(self.bmc.password_file).read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as failure:
            raise refused(
                "bmc.password_file", f"cannot be read: {failure}", "make it a readable text file"
            ) from failure
        if not password:
            raise refused("bmc.password_file", "it is empty", "put the password into it")
        return password


def read_config(path: Path) -> ChassisConfig:
    """Read and check a configuration file.

    Raises:
        DpuError: INVALID, with the key that is wrong in ``field``.
    """
    try:
        config = msgspec.toml.decode(path.read_bytes(), type=ChassisConfig)
    except OSError as failure:
        raise DpuError(
            Reason.INVALID, f"cannot read {path}: {failure.strerror}", field="--config", remedy="name a readable file"
        ) from failure
    except msgspec.ValidationError as failure:
        said, _, where = str(failure).partition(" - at ")
        raise refused(where.strip("`").removeprefix("$."), said, "correct this key of the file") from failure
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise refused("--config", f"{path} is not TOML: {failure}", "correct the syntax") from failure
    check(config)
    return config


def refused(field: str, message: str, remedy: str) -> DpuError:
    """The error for one wrong key."""
    return DpuError(Reason.INVALID, message, field=field, remedy=remedy)


def check(config: ChassisConfig) -> None:
    """Refuse values that have the right type and cannot work."""
    _check_identity(config)
    _check_mainboard(config.qemu)
    _check_bmc(config.bmc)
    _ = config.bmc_password
    for field, value in (("run_dir", config.run_dir), ("pcie_socket", config.pcie_socket)):
        if value and (not value.startswith("/") or "," in value or len(os.fsencode(value)) > SOCKET_PATH_LIMIT - 12):
            remedy = f"give an absolute path without a comma, at most {SOCKET_PATH_LIMIT - 12} bytes long"
            raise refused(field, f"{value!r} cannot hold Unix sockets", remedy)
    if not config.run_dir:
        raise refused("run_dir", "it is empty", "give an absolute path")
    for name, size in msgspec.structs.asdict(config.console).items():
        if size < 4096:
            raise refused(f"console.{name}", f"{size} bytes is too little", "give at least 4096")


def _check_identity(config: ChassisConfig) -> None:
    if not NAME.fullmatch(config.host.name):
        raise refused("host.name", f"{config.host.name!r} is not a DNS label", "use a-z, 0-9 and - only")
    try:
        uuid.UUID(config.host.system_uuid)
    except ValueError as failure:
        raise refused("host.system_uuid", f"{config.host.system_uuid!r} is not a UUID", "give one") from failure


def _check_mainboard(qemu: QemuSection) -> None:
    bounds = {
        "vcpus": (qemu.vcpus, 1, 255),
        "memory_mib": (qemu.memory_mib, 32, 1 << 20),
        "disk_slots": (qemu.disk_slots, 1, ROOT_PORT_LIMIT),
        "nic_slots": (qemu.nic_slots, 0, ROOT_PORT_LIMIT - qemu.disk_slots),
        "power_on_timeout_s": (qemu.power_on_timeout_s, 1, 600),
    }
    for field, (value, low, high) in bounds.items():
        if not low <= value <= high:
            raise refused(f"qemu.{field}", f"{value} is out of bounds", f"give {low} to {high}")
    files = {"binary": qemu.binary, "netns": qemu.netns}
    if qemu.firmware is Firmware.OVMF:
        files |= {"ovmf_code": qemu.ovmf_code, "ovmf_vars": qemu.ovmf_vars}
    _check_files("qemu", files)


def _check_bmc(bmc: BmcSection) -> None:
    try:
        ipaddress.ip_address(bmc.address)
    except ValueError as failure:
        raise refused("bmc.address", f"{bmc.address!r} is not a numeric address", "give one") from failure
    if not 0 <= bmc.port <= 65535:
        raise refused("bmc.port", f"{bmc.port} is not a port", "give 0 to 65535")
    if not bmc.username or ":" in bmc.username:
        raise refused("bmc.username", "a user name is needed, without a colon", "give one")
    if bool(bmc.password) == bool(bmc.password_file):
        raise refused("bmc.password", "exactly one password is needed", "give password or password_file, not both")
    if not bmc.plain_http and not (bmc.tls_cert_file and bmc.tls_key_file):
        raise refused(
            "bmc.tls_cert_file", "no certificate", "give tls_cert_file and tls_key_file, or plain_http = true"
        )
    files = {name: getattr(bmc, name) for name in ("password_file", "tls_cert_file", "tls_key_file", "client_ca_file")}
    _check_files("bmc", files | {"media_dir": bmc.media_dir})


def _check_files(section: str, files: dict[str, str]) -> None:
    for name, value in files.items():
        if value and not Path(value).exists():
            raise refused(f"{section}.{name}", f"{value} does not exist", "give the path of an existing file")
