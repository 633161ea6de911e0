"""Settings of the plug-in: one TOML file; what is wrong in it is named by key and file."""

import re
import tomllib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

import msgspec

from proto.errors import DpuError
from proto.reasons import Reason

ENDPOINT_VARIABLE = "CSI_ENDPOINT"
"""CSI specification: where the caller wants the plug-in."""
SOCKET_PATH_MAX_BYTES = 107
"""unix(7)."""
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
        enabled: off by default, because kubelet refuses a plug-in without the Node service, which is not served yet.
        directory: that kubelet watches.
        host_endpoint: path of the CSI socket as kubelet sees it; that of `endpoint` when empty.
    """

    enabled: bool = False
    directory: str = "/var/lib/kubelet/plugins_registry"
    host_endpoint: str = ""


class Config(_Section, frozen=True):
    """The whole file.

    Attributes:
        name: of the plug-in, what a StorageClass calls its provisioner.
        endpoint: ``unix://`` and the path of the CSI socket; the variable CSI_ENDPOINT goes before it.
        registration: with kubelet.
        drain_s: seconds that running calls have when the plug-in is told to stop; under systemd's 90.
        log_level: ``info`` writes a line for each call.
    """

    name: str = "csi.dpupool.io"
    endpoint: str = "unix:///var/lib/kubelet/plugins/csi.dpupool.io/csi.sock"
    registration: Registration = Registration()
    drain_s: float = 5.0
    log_level: LogLevel = LogLevel.INFO

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


def _wrong(path: Path, key: str, what: str) -> DpuError:
    return DpuError(Reason.INVALID, f"{path}: {what}", field=key, remedy=f"correct {key or 'the file'}")
