"""Steps: the smallest things that a driver is asked to do, each knowing its sentence and its deadline."""

from dataclasses import dataclass

from dpu_daemon.model.disk import Attachment, Qos
from dpu_daemon.model.port import Port
from dpu_daemon.model.volume import Image, Member, Snapshot, Volume

UNPLUG_WAIT_S = 10.0
"""How long a running host gets to let go of a device; its driver needs well under a second when idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call to a driver; repeating it when it is already done does no harm."""

    @property
    def deadline_s(self) -> float:
        """Seconds after which the other side counts as not answering."""
        return 10.0

    def says(self) -> str:
        """What is about to happen, for journal and log."""
        return type(self).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class PutUp(Step):
    """Connects, limits and exposes a disk, in as few requests as its driver needs."""

    attachment: Attachment

    @property
    def deadline_s(self) -> float:
        return 20.0

    def says(self) -> str:
        return f"connect {self.attachment.handle} to its source and expose it"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLimits(Step):
    handle: str
    qos: Qos

    def says(self) -> str:
        return f"set the limits of {self.handle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowDisk(Step):
    handle: str
    size_bytes: int

    def says(self) -> str:
        return f"grow {self.handle} to {self.size_bytes} bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugDisk(Step):
    attachment: Attachment

    def says(self) -> str:
        return f"plug {self.attachment.handle} in slot {self.attachment.slot}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowFunction(Step):
    """Journals what the host was told; it is told only where the bus can do so live."""

    attachment: Attachment

    def says(self) -> str:
        return f"tell the host that slot {self.attachment.slot} has {self.attachment.spec.size_bytes} bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnplugDisk(Step):
    slot: int
    handle: str
    force: bool = False

    @property
    def deadline_s(self) -> float:
        return UNPLUG_WAIT_S + 5.0

    def says(self) -> str:
        return f"unplug {self.handle} from slot {self.slot}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conceal(Step):
    handle: str

    def says(self) -> str:
        return f"conceal {self.handle} from the bus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect(Step):
    handle: str

    @property
    def deadline_s(self) -> float:
        return 15.0

    def says(self) -> str:
        return f"disconnect {self.handle} from its source"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureBridge(Step):
    bridge: str

    def says(self) -> str:
        return f"make bridge {self.bridge}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPort(Step):
    """Also puts right a port that is there with another id, address or VLAN."""

    bridge: str
    netdev: str
    iface_id: str = ""
    mac: str = ""
    vlan: int = 0

    def says(self) -> str:
        return f"add {self.netdev} to {self.bridge}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovePort(Step):
    bridge: str
    netdev: str

    def says(self) -> str:
        return f"remove {self.netdev} from {self.bridge}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLink(Step):
    netdev: str
    mtu: int = 0

    def says(self) -> str:
        return f"set {self.netdev} up" + (f" with MTU {self.mtu}" if self.mtu else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugNic(Step):
    port: Port

    def says(self) -> str:
        return f"plug NIC {self.port.vf} for port {self.port.port_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnplugNic(Step):
    vf: int
    port_id: str
    force: bool = False

    @property
    def deadline_s(self) -> float:
        return UNPLUG_WAIT_S + 5.0

    def says(self) -> str:
        return f"unplug NIC {self.vf} of port {self.port_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenImage(Step):
    image: Image

    def says(self) -> str:
        return f"open image {self.image.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseImage(Step):
    image: Image

    def says(self) -> str:
        return f"close image {self.image.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume(Step):
    volume: Volume
    source: Image | Snapshot | None

    def says(self) -> str:
        match self.source:
            case Image(source=name) | Snapshot(handle=name):
                return f"create volume {self.volume.handle}, a clone of {name}"
            case None:
                return f"create volume {self.volume.handle}, blank"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVolume(Step):
    volume: Volume
    image: Image | None

    def says(self) -> str:
        return f"open volume {self.volume.handle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmVolume(Step):
    """Journals that the volume's file was seen; no driver is asked."""

    volume: Volume

    def says(self) -> str:
        return f"confirm volume {self.volume.handle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeVolume(Step):
    volume: Volume

    def says(self) -> str:
        return f"grow volume {self.volume.handle} to {self.volume.size_bytes} bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportVolume(Step):
    volume: Volume

    def says(self) -> str:
        generation = self.volume.export.generation if self.volume.export else 0
        return f"export volume {self.volume.handle} for generation {generation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnexportVolume(Step):
    volume: Volume

    def says(self) -> str:
        return f"cut off the export of volume {self.volume.handle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVolume(Step):
    volume: Volume

    @property
    def deadline_s(self) -> float:
        """Overwriting takes as long as the disk needs; 600 s shreds some hundred GiB on a slow one."""
        return 600.0 if self.volume.shred else 30.0

    def says(self) -> str:
        return ("shred" if self.volume.shred else "delete") + f" volume {self.volume.handle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSnapshots(Step):
    """Freezes what volumes hold, all at one instant; their users write on."""

    members: tuple[Member, ...]

    @property
    def deadline_s(self) -> float:
        """Some 25 ms for each; a merge that is in the way is stopped first."""
        return 15.0 + 0.5 * len(self.members)

    def says(self) -> str:
        return f"cut {', '.join(member.snapshot.handle for member in self.members)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AbandonSnapshots(Step):
    """Takes back what was prepared for snapshots, unless the cut happened."""

    members: tuple[Member, ...]

    def says(self) -> str:
        return f"abandon {', '.join(member.snapshot.handle for member in self.members)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSnapshot(Step):
    """Removes a snapshot; with one user left, its content is moved there first, and goes on after the step."""

    snapshot: Snapshot

    @property
    def deadline_s(self) -> float:
        return 600.0 if self.snapshot.shred else 30.0

    def says(self) -> str:
        return ("shred" if self.snapshot.shred else "drop") + f" snapshot {self.snapshot.handle}"
