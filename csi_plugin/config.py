"""Settings of the plug-in: one TOML file; what is wrong in it is named by key and file."""

import re
import tomllib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

import msgspec

from csi_plugin.node.model import FileSystem
from proto.errors import DpuError
from proto.reasons import Reason

ENDPOINT_VARIABLE = "CSI_ENDPOINT"
"""CSI specification: where the caller wants the plug-in."""
SOCKET_PATH_MAX_BYTES = 107
"""unix(7)."""
NODE_NAME_MAX_BYTES = 192
MAX_VOLUMES = 1 << 16
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


class LogLevel(Enum):
    """Least level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Registration(_Section, frozen=True):
    """How kubelet learns of the plug-in.

    Attributes:
        enabled: when it is not said, where Node is served: kubelet refuses a plug-in without that.
        directory: that kubelet watches.
        host_endpoint: path of the CSI socket as kubelet sees it; that of `endpoint` when empty.
    """

    enabled: bool | None = None
    directory: str = "/var/lib/kubelet/plugins_registry"
    host_endpoint: str = ""


class DiscoveryKind(Enum):
    """Where disks are found."""

    SYSFS = "sysfs"
    LOOP = "loop"


class NodeSection(_Section, frozen=True):
    """The Node service; without this table it is not served.

    Attributes:
        name: of this host's BareMetalHost; 1 to 192 bytes, which is what kubelet keeps.
        max_volumes: that the host's DPU has slots for; 0 leaves it to the caller.
        pool: label of the host that volumes may be bound to; empty for none.
        default_file_system: of a blank disk when a request names none.
        state_dir: what was asked for; must survive a restart of the host.
        disk_wait_s: for a disk to come or to grow; under kubelet's 120.
    """

    name: str
    max_volumes: int = 0
    pool: str = ""
    default_file_system: FileSystem = FileSystem.EXT4
    state_dir: str = "/var/lib/dpupool/csi-node"
    disk_wait_s: float = 60.0


class Discovery(_Section, frozen=True):
    """Where disks are found.

    Attributes:
        kind: ``sysfs`` on a host with a DPU; ``loop`` where the host bus is a folder of files.
        directory: that folder.
    """

    kind: DiscoveryKind = DiscoveryKind.SYSFS
    directory: str = ""


class Config(_Section, frozen=True):
    """The whole file.

    Attributes:
        name: of the plug-in, what a StorageClass calls its provisioner.
        endpoint: ``unix://`` and the path of the CSI socket; the variable CSI_ENDPOINT goes before it.
        registration: with kubelet.
        node: the Node service, and this node.
        discovery: of disks.
        drain_s: seconds that running calls have when the plug-in is told to stop; under systemd's 90.
        log_level: ``info`` writes a line for each call.
    """

    name: str = "csi.dpupool.io"
    endpoint: str = "unix:///var/lib/kubelet/plugins/csi.dpupool.io/csi.sock"
    registration: Registration = Registration()
    node: NodeSection | None = None
    discovery: Discovery = Discovery()
    drain_s: float = 5.0
    log_level: LogLevel = LogLevel.INFO

    @property
    def registers(self) -> bool:
        """Whether kubelet is told."""
        return self.node is not None if self.registration.enabled is None else self.registration.enabled

    @property
    def socket(self) -> Path:
        """Where CSI is served."""
        return Path(self.endpoint.removeprefix("unix://"))

    @property
    def registration_socket(self) -> Path:
        """Where kubelet asks who the plug-in is."""
        return Path(self.registration.directory) / f"{self.name}-reg.sock"

    @property
    def host_endpoint(self) -> str:
        """Path of the CSI socket as kubelet sees it."""
        return self.registration.host_endpoint or str(self.socket)


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Read the file, and CSI_ENDPOINT from the environment.

    Raises:
        DpuError: INVALID; the message names key and file.
    """
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Config)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise _wrong(path, where.strip("`").lstrip("."), what) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(path, "", str(error)) from error
    if environment.get(ENDPOINT_VARIABLE):
        found = msgspec.structs.replace(found, endpoint=environment[ENDPOINT_VARIABLE])
    _check(path, found)
    return found


def _check(path: Path, found: Config) -> None:
    if not _NAME.fullmatch(found.name):
        raise _wrong(path, "name", f"{found.name!r} is no domain name of 1 to 63 lower-case characters")
    if not found.endpoint.startswith("unix:///") or not found.endpoint.endswith(".sock"):
        raise _wrong(path, "endpoint", f"{found.endpoint!r} is not unix:///PATH.sock")
    for key, socket in (("endpoint", found.socket), ("registration.directory", found.registration_socket)):
        if not socket.is_absolute():
            raise _wrong(path, key, f"{socket} is not absolute")
        if len(bytes(socket)) > SOCKET_PATH_MAX_BYTES:
            raise _wrong(path, key, f"{socket} is longer than the {SOCKET_PATH_MAX_BYTES} bytes of a socket's path")
    if not Path(found.host_endpoint).is_absolute():
        raise _wrong(path, "registration.host_endpoint", f"{found.host_endpoint} is not absolute")
    if not 0 <= found.drain_s <= 60:
        raise _wrong(path, "drain_s", f"{found.drain_s} is not between 0 and 60 seconds")
    if found.node is not None:
        _check_node(path, found.node, found.discovery)


def _check_node(path: Path, node: NodeSection, discovery: Discovery) -> None:
    if not 1 <= len(node.name.encode()) <= NODE_NAME_MAX_BYTES:
        raise _wrong(path, "node.name", f"{node.name!r} does not have 1 to {NODE_NAME_MAX_BYTES} bytes")
    if node.pool and not _LABEL.fullmatch(node.pool):
        raise _wrong(path, "node.pool", f"{node.pool!r} is no label of 1 to 63 characters")
    if not 0 <= node.max_volumes <= MAX_VOLUMES:
        raise _wrong(path, "node.max_volumes", f"{node.max_volumes} is not between 0 and {MAX_VOLUMES}")
    if not Path(node.state_dir).is_absolute():
        raise _wrong(path, "node.state_dir", f"{node.state_dir} is not absolute")
    if not 0 < node.disk_wait_s <= 110:
        raise _wrong(path, "node.disk_wait_s", f"{node.disk_wait_s} is not between 0 and 110 seconds")
    if discovery.kind is DiscoveryKind.LOOP and not Path(discovery.directory).is_absolute():
        raise _wrong(path, "discovery.directory", f"{discovery.directory!r} is not absolute")


def _wrong(path: Path, key: str, what: str) -> DpuError:
    return DpuError(Reason.INVALID, f"{path}: {what}", field=key, remedy=f"correct {key or 'the file'}")
