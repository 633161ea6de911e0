"""What a lab is asked to be: its name, how many hosts, which image, where its files are."""

import enum
import re
from pathlib import Path

import msgspec

from proto.errors import DpuError
from proto.reasons import Reason

NAME = re.compile(r"[a-z][a-z0-9]{0,5}")
HOSTS_AT_MOST = 8
POD_NODES_AT_MOST = 4
RUN_ROOT = Path("/run/dpupool")
STATE_ROOT = Path("/var/lib/dpupool")


class ImageKind(enum.Enum):
    """Which image the machines boot from."""

    TINY = "tiny"
    DEBIAN = "debian"


class Acceleration(enum.Enum):
    """How the hosts' CPUs are emulated; AUTO probes whether KVM works."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


class HostLink(enum.Enum):
    """How a DPU shows disks to its host."""

    PCIE = "pcie"  # as PCIe functions of a virtual machine
    FUSE = "fuse"  # as files of this machine, which a CSI node plug-in makes block devices of


class Extent(enum.Enum):
    """How much of the lab runs."""

    ALL = "all"
    INFRASTRUCTURE = "infrastructure"  # without daemons and coordinator, for who starts those by hand


def check_name(name: str) -> None:
    """Refuse what cannot name a lab, and so nothing of this machine's files either.

    Raises:
        DpuError: INVALID.
    """
    if not NAME.fullmatch(name):
        remedy = "use a letter, then at most 5 letters or digits, all lower case"
        raise DpuError(Reason.INVALID, f"{name!r} cannot name a lab", field="--name", remedy=remedy)


class LabSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lab, as asked for.

    Attributes:
        name: at most 6 characters, as it begins the names of namespaces; several labs run side by side.
        hosts: bare-metal hosts, each with its own DPU and BMC.
        api_port: port of the API on 127.0.0.1 of the machine; the only thing of the lab that is there.
        image: what the Image object of the lab is.
        accel: how the hosts run.
        extent: what of the lab runs.
        link: what the hosts are.
        pod_nodes: nodes whose pods get their network from OVN, each with a switch of its own; see lab.pods.
    """

    name: str = "dpl"
    hosts: int = 1
    api_port: int = 6443
    image: ImageKind = ImageKind.TINY
    accel: Acceleration = Acceleration.AUTO
    extent: Extent = Extent.ALL
    link: HostLink = HostLink.PCIE
    pod_nodes: int = 0

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            DpuError: INVALID; names the option.
        """
        check_name(self.name)
        if not 1 <= self.hosts <= HOSTS_AT_MOST:
            remedy = f"give 1 to {HOSTS_AT_MOST}"
            raise DpuError(Reason.INVALID, f"{self.hosts} hosts are not possible", field="--hosts", remedy=remedy)
        if not 0 <= self.pod_nodes <= POD_NODES_AT_MOST:
            message = f"{self.pod_nodes} nodes for pods are not possible"
            raise DpuError(Reason.INVALID, message, field="--pod-nodes", remedy=f"give 0 to {POD_NODES_AT_MOST}")
        if not 1 <= self.api_port <= 65535:
            raise DpuError(Reason.INVALID, f"{self.api_port} is not a port", field="--port", remedy="give 1 to 65535")


class Layout:
    """Where the files of one lab are.

    Run-time files (sockets, process ids) are under /run, short enough for Unix socket paths; what should outlive a
    restart of a process is under /var/lib.

    Args:
        name: of the lab.
        run_root, state_root: other folders, for tests.

    Raises:
        DpuError: INVALID; this cannot name a lab.
    """

    def __init__(self, name: str, *, run_root: Path = RUN_ROOT, state_root: Path = STATE_ROOT) -> None:
        check_name(name)
        self.name = name
        self.run = run_root / name
        self.state = state_root / name

    @property
    def settings_file(self) -> Path:
        """What the lab was asked to be; its presence says that the lab exists."""
        return self.state / "lab.json"

    @property
    def units_file(self) -> Path:
        return self.state / "units.json"

    @property
    def control_socket(self) -> Path:
        """The supervisor listens here."""
        return self.run / "supervisor.sock"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def manifests(self) -> Path:
        """The lab's inventory as YAML, as it was applied."""
        return self.state / "manifests"

    def run_of(self, part: str) -> Path:
        """Run-time folder of one part, such as ``dpu-1``."""
        return self.run / part

    def state_of(self, part: str) -> Path:
        """Folder of what one part keeps."""
        return self.state / part

    def config_of(self, part: str) -> Path:
        """Configuration file of one program."""
        return self.state / "config" / f"{part}.toml"

    def read_settings(self) -> LabSettings | None:
        """What the lab was asked to be; None when there is no lab of this name."""
        try:
            return msgspec.json.decode(self.settings_file.read_bytes(), type=LabSettings)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            remedy = f"run `bmctl lab down --name {self.name}`, then up again"
            raise DpuError(Reason.CORRUPT, f"{self.settings_file} is not readable: {error}", remedy=remedy) from error

    def write_settings(self, settings: LabSettings) -> None:
        """Remember what the lab is asked to be, before anything is made."""
        self.settings_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self.settings_file.with_suffix(".part")
        partial.write_bytes(msgspec.json.encode(settings))
        partial.replace(self.settings_file)
