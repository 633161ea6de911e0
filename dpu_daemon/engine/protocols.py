"""What the engine needs of the world. Drivers implement these; nothing else of the daemon knows a driver.

Every call has a deadline inside the driver and raises DpuError: UNAVAILABLE when the other side does not
answer (the call may be repeated), INVALID / EXHAUSTED / IN_USE when it refuses. A call that finds its work
already done succeeds. `look` is the judge: the engine looks, acts, and looks again.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.disk import (
    Attachment,
    BlockSeen,
    DiskProtocol,
    DiskStats,
    FunctionSeen,
    Qos,
    SeedFile,
    TargetAddress,
)
from dpu_daemon.model.port import LinkSeen, NicSeen, ProbeResult, SwitchSeen
from dpu_daemon.model.volume import Image, ImageFormat, Member, Snapshot, TargetSeen, Volume

Lost = Callable[[str], None]
"""Called by a driver, with a sentence, when the other side restarted or went away: converge again."""


class Driver(Protocol):
    """What all drivers have in common."""

    async def start(self, lost: Lost) -> None:
        """Connect and keep connected; returns at once when the other side is not there yet."""
        ...

    async def stop(self) -> None:
        """Let go of connections; the other side's state stays as it is."""
        ...

    def version(self) -> str:
        """Name and version of the other side, such as ``qsd 10.0.2``; empty before the first contact."""
        ...


class BlockDriver(Driver, Protocol):
    """The DPU's block layer: qemu-storage-daemon or SPDK."""

    def default_protocol(self, *, read_only: bool = False) -> DiskProtocol:
        """Of a disk whose caller leaves it open."""
        ...

    def width(self) -> int:
        """How many disks may be worked on at once to any advantage."""
        ...

    def limits(self) -> Mapping[str, int]:
        """How many disks the other side can have, by the name of each limit that is known."""
        ...

    def effective(self, qos: Qos) -> Qos:
        """What the other side makes of these limits; never raises."""
        ...

    async def look(self, want: Attachment | None = None) -> BlockSeen:
        """All disks of ours; for one `want` at least that one, if it is there."""
        ...

    async def put_up(self, disk: Attachment) -> int:
        """Reach the source, limit it and offer it to the host's bus; returns its size in bytes."""
        ...

    async def limit(self, handle: str, qos: Qos) -> None: ...

    async def conceal(self, handle: str) -> None: ...

    async def disconnect(self, handle: str) -> None: ...

    async def grow(self, handle: str, size_bytes: int) -> None:
        """Learn a source's new size and pass it on; the disk stays usable."""
        ...

    async def stats(self, handle: str) -> DiskStats: ...


class HostBus(Driver, Protocol):
    """The PCIe link to the host: who shows functions to it."""

    def disk_slots(self) -> int: ...

    def nic_slots(self) -> int: ...

    def grows_live(self, protocol: DiskProtocol) -> bool:
        """Whether a running host sees a disk's new size; where not, `grow_disk` is not called."""
        ...

    async def look_disks(self) -> Mapping[int, FunctionSeen]: ...

    async def look_nics(self) -> Mapping[int, NicSeen]: ...

    async def host_is_on(self) -> bool: ...

    async def plug_disk(self, function: FunctionSeen) -> None:
        """Show an exposed disk (named by `function.handle`) in its slot; `present` and `pci_address` are ignored."""
        ...

    async def unplug_disk(self, slot: int, handle: str, *, timeout_s: float, force: bool) -> None: ...

    async def grow_disk(self, slot: int, size_bytes: int) -> None:
        """Tell a running host of the new size; UNSUPPORTED where only a restart shows it."""
        ...

    async def plug_nic(self, nic: NicSeen, *, mtu: int) -> None: ...

    async def unplug_nic(self, vf: int, port_id: str, *, timeout_s: float, force: bool) -> None: ...


class SwitchDriver(Driver, Protocol):
    """Open vSwitch's database."""

    async def look(self) -> SwitchSeen: ...

    async def ensure_bridge(self, bridge: str) -> None: ...

    async def add_port(self, bridge: str, netdev: str, *, iface_id: str, mac: str, vlan: int) -> int:
        """Plug a netdev; returns its OpenFlow port number once the switch has one."""
        ...

    async def remove_port(self, bridge: str, netdev: str) -> None: ...


class LinkDriver(Driver, Protocol):
    """Network devices of this system, over netlink."""

    async def look(self) -> Mapping[str, LinkSeen]: ...

    async def set_link(self, name: str, *, up: bool, mtu: int = 0) -> None: ...


class Prober(Protocol):
    """Asks through the switch whether an address answers."""

    def probe(
        self, *, bridge: str, vlan: int, mac: str, address: str, probe_address: str, timeout_s: float, at: str = ""
    ) -> AsyncIterator[ProbeResult]:
        """One result per attempt; ends after the first answer or at the deadline.

        With `at`, the machine is asked at that netdev, its representor, and the switch takes no part.
        """
        ...


class SeedWriter(Protocol):
    """Makes and removes the files behind seed disks, atomically."""

    def write(self, name: str, files: Mapping[str, str]) -> SeedFile: ...

    def remove(self, name: str) -> None: ...

    def names(self) -> frozenset[str]: ...


class TargetDriver(Driver, Protocol):
    """A storage node's block layer: image files, copy-on-write clones, network exports."""

    async def look(self) -> TargetSeen: ...

    async def inspect_image(self, source: str, image_format: ImageFormat) -> int:
        """Virtual size in bytes; INVALID names what is wrong with the file."""
        ...

    async def open_image(self, image: Image) -> None: ...

    async def close_image(self, image: Image) -> None: ...

    def transport(self) -> str:
        """Of its exports, as a TargetAddress says it."""
        ...

    def cuts_groups(self) -> bool:
        """Whether snapshots of several volumes can be cut at one instant."""
        ...

    def can_shred(self, volume: Volume) -> bool:
        """Whether what the volume holds can be overwritten when it goes."""
        ...

    async def round_up(self, size_bytes: int) -> int:
        """The size that a volume of at least so many bytes gets here."""
        ...

    async def create(self, volume: Volume, source: Image | Snapshot | None) -> None:
        """Make the volume, a clone of its source or blank; never leaves half of it under its name."""
        ...

    async def open(self, volume: Volume, image: Image | None) -> None:
        """Make the volume usable; `image` is the one at the bottom of its chain of copies."""
        ...

    async def cut(self, members: Sequence[Member]) -> None:
        """Freeze what the volumes hold, all at one instant, open or not; those that were cut before are left."""
        ...

    async def abandon(self, members: Sequence[Member]) -> bool:
        """Take back what was prepared for a cut; answers True, and leaves all, when the cut has happened."""
        ...

    async def drop(self, snapshot: Snapshot) -> None:
        """Remove a snapshot with one user at most, overwriting first when `snapshot.shred`.

        With a user its content is moved there, which may go on after this returns: a look says so.
        """
        ...

    async def export(self, volume: Volume, *, read_only: bool) -> TargetAddress: ...

    async def unexport(self, volume: Volume) -> None: ...

    async def resize(self, volume: Volume, size_bytes: int) -> None:
        """Grow, with the export briefly away when there is one; clients reconnect by themselves."""
        ...

    async def delete(self, volume: Volume) -> None:
        """Close and remove the file, overwriting first when `volume.shred`."""
        ...

    async def capacity(self) -> tuple[int, int]:
        """Total and available bytes."""
        ...


class CredentialStore(Protocol):
    """Secrets by name, kept outside the journal; never in a log or an error."""

    def put(self, credentials: Credentials) -> None:
        """Keep or replace a set; connections made from then on use it."""
        ...

    def get(self, name: str) -> Credentials:
        """A set; NOT_FOUND without one."""
        ...

    def delete(self, name: str) -> None:
        """Forget a set; absent is fine."""
        ...

    def names(self) -> frozenset[str]: ...
