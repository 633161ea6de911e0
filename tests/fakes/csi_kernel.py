"""A host's kernel for the node part, in memory: disks, mounts and drivers; it may be killed at every single act."""

from dataclasses import dataclass, field
from pathlib import Path

from csi_plugin.node.host import Host
from csi_plugin.node.model import AccessType, Device, DiskIdentity, FileSystem, HostDriver, VolumeRecord
from csi_plugin.node.mountinfo import MountEntry
from csi_plugin.node.protocols import Room, Usage
from csi_plugin.node.records import Records
from proto.errors import DpuError
from proto.reasons import Reason

MIB = 1 << 20
HALF_MADE = "half a file system"


class KilledError(BaseException):
    """The process is gone: nothing catches this."""


@dataclass
class FakeDisk:
    """A disk; `data` is what a workload wrote on it."""

    name: str
    number: str
    size_bytes: int = 64 * MIB
    content: str = ""
    data: str = ""
    read_only: bool = False
    protected: bool = False
    filled_bytes: int = 0
    pci_address: str = "0000:03:00.0"
    driver: str = "virtio-pci"


@dataclass
class FakeKernel:
    """What survives the death of the node part, and `reboot`."""

    disks: dict[str, FakeDisk] = field(default_factory=dict)
    mounts: dict[str, MountEntry] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    full: set[str] = field(default_factory=set)
    busy: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    released: list[str] = field(default_factory=list)
    points: int = 0
    kill_at: int = 0

    def point(self) -> None:
        """Between two acts."""
        self.points += 1
        if self.points == self.kill_at:
            raise KilledError

    def plug(self, serial: str, **values: object) -> FakeDisk:
        number = len(self.disks) + 1
        disk = FakeDisk(f"vd{'abcdefgh'[number]}", f"253:{number}")
        for key, value in values.items():
            setattr(disk, key, value)
        self.disks[serial] = disk
        return disk

    def reboot(self) -> None:
        """Mounts are gone; disks have other names and have appeared anew."""
        self.mounts.clear()
        for number, disk in enumerate(reversed(self.disks.values()), 1):
            disk.name, disk.number = f"vd{'stuvwxyz'[number]}", f"252:{number}"
            disk.protected = False

    def of_number(self, number: str) -> FakeDisk | None:
        return next((disk for disk in self.disks.values() if disk.number == number), None)

    def host(self, directory: Path, **settings: object) -> Host:
        """The node part's view; `directory` holds its records."""
        host = Host(
            records=_Records(directory, self),
            mounts=_Mounts(self),
            file_systems=_FileSystems(self),
            discovery=_Discovery(self),
            functions=_Functions(self),
            disks=_Disks(self),
            disk_wait_s=0.05,
        )
        for key, value in settings.items():
            object.__setattr__(host, key, value)
        return host


class _Records(Records):
    def __init__(self, directory: Path, kernel: FakeKernel) -> None:
        super().__init__(directory)
        self._kernel = kernel

    def put(self, record: VolumeRecord) -> None:
        self._kernel.point()
        super().put(record)
        self._kernel.point()


class _Mounts:
    def __init__(self, kernel: FakeKernel) -> None:
        self._kernel = kernel

    async def at(self, path: str) -> MountEntry | None:
        return self._kernel.mounts.get(path)

    async def mount(self, device: Device, path: str, file_system: FileSystem, flags: tuple[str, ...]) -> None:
        self._kernel.point()
        disk = self._kernel.of_number(device.number)
        assert path in self._kernel.paths, "a mount needs a folder"
        assert path not in self._kernel.mounts, "nothing is mounted twice"
        assert disk is not None
        assert disk.content == file_system.value, "only a whole file system can be mounted"
        options = frozenset({"ro" if "ro" in flags else "rw", *flags} - ({"rw"} if "ro" in flags else set()))
        self._kernel.mounts[path] = MountEntry(path, device.number, "/", options, disk.content, frozenset(), True)
        self._kernel.point()

    async def bind(self, source: str, target: str) -> None:
        self._kernel.point()
        assert target in self._kernel.paths, "a mount needs something to cover"
        assert target not in self._kernel.mounts, "nothing is mounted twice"
        below = self._kernel.mounts.get(source)
        number = below.device if below else f"dev:{source}"
        kind = below.kind if below else "devtmpfs"
        options = below.options if below else frozenset({"rw"})
        self._kernel.mounts[target] = MountEntry(target, number, "/", options, kind, frozenset(), True)
        self._kernel.point()

    async def make_read_only(self, target: str) -> None:
        self._kernel.point()
        entry = self._kernel.mounts[target]
        options = (entry.options - {"rw"}) | {"ro"}
        self._kernel.mounts[target] = MountEntry(
            target, entry.device, "/", options, entry.kind, entry.super_options, True
        )
        self._kernel.point()

    async def unmount(self, path: str, *, dead: bool) -> None:
        self._kernel.point()
        if path in self._kernel.busy and not dead:
            raise DpuError(Reason.IN_USE, f"{path} is busy")
        self._kernel.mounts.pop(path, None)
        self._kernel.point()

    async def dead(self, path: str) -> bool:
        entry = self._kernel.mounts.get(path)
        return entry is not None and entry.kind != "devtmpfs" and self._kernel.of_number(entry.device) is None

    async def make_target(self, path: str, access: AccessType) -> None:
        self._kernel.point()
        self._kernel.paths.add(path)
        self._kernel.point()

    async def remove_target(self, path: str) -> None:
        self._kernel.point()
        assert path not in self._kernel.mounts, "what is mounted cannot be removed"
        if path in self._kernel.full:
            raise DpuError(Reason.WRONG_STATE, f"{path} is not empty")
        self._kernel.paths.discard(path)
        self._kernel.point()

    async def usage(self, path: str) -> Usage:
        return Usage(Room(100, 40, 50), Room(10, 5, 5))

    async def device_behind(self, path: str) -> str:
        entry = self._kernel.mounts.get(path)
        name = (entry.device if entry is not None else f"dev:{path}").removeprefix("dev:/dev/")
        if name.startswith("vfio/"):
            return f"vfio:{name}"
        return next((disk.number for disk in self._kernel.disks.values() if disk.name == name), "")


class _FileSystems:
    def __init__(self, kernel: FakeKernel) -> None:
        self._kernel = kernel

    async def signature(self, device: Device) -> str:
        content = self._disk(device).content
        return "" if content == HALF_MADE else content

    async def make(self, device: Device, file_system: FileSystem) -> None:
        self._kernel.point()
        disk = self._disk(device)
        assert not disk.data, "a disk with data was formatted"
        assert not disk.read_only
        disk.content = HALF_MADE
        self._kernel.point()
        disk.content, disk.filled_bytes = file_system.value, disk.size_bytes
        self._kernel.point()

    async def check(self, device: Device, file_system: FileSystem) -> None:
        assert self._disk(device).content == file_system.value

    async def grow(self, device: Device, file_system: FileSystem, mounted_at: str) -> None:
        self._kernel.point()
        assert self._kernel.mounts[mounted_at].device == device.number
        self._disk(device).filled_bytes = device.size_bytes
        self._kernel.point()

    def _disk(self, device: Device) -> FakeDisk:
        found = self._kernel.of_number(device.number)
        assert found is not None
        return found


class _Discovery:
    def __init__(self, kernel: FakeKernel) -> None:
        self._kernel = kernel

    async def look(self, disk: DiskIdentity) -> Device | None:
        found = self._kernel.disks.get(disk.serial)
        if found is None or found.driver == "vfio-pci":
            return None
        return Device(
            name=found.name,
            path=f"/dev/{found.name}",
            number=found.number,
            size_bytes=found.size_bytes,
            read_only=found.read_only or found.protected,
            pci_address=found.pci_address,
        )

    async def wait(self, disk: DiskIdentity, timeout_s: float) -> Device:
        found = await self.look(disk)
        if found is None:
            raise DpuError(Reason.DEADLINE, f"no disk with {disk}")
        return found

    async def grown(self, disk: DiskIdentity, size_bytes: int, timeout_s: float) -> Device:
        found = await self.wait(disk, timeout_s)
        if found.size_bytes < size_bytes:
            raise DpuError(Reason.UNAVAILABLE, f"{found.name} has not grown")
        return found

    async def release(self, disk: DiskIdentity) -> None:
        self._kernel.point()
        self._kernel.released.append(disk.serial)
        self._kernel.point()


class _Functions:
    def __init__(self, kernel: FakeKernel) -> None:
        self._kernel = kernel

    async def give(self, address: str, driver: HostDriver) -> str:
        self._kernel.point()
        next(disk for disk in self._kernel.disks.values() if disk.pci_address == address).driver = driver.value
        self._kernel.point()
        return "/dev/vfio/7"

    async def give_back(self, address: str) -> None:
        self._kernel.point()
        next(disk for disk in self._kernel.disks.values() if disk.pci_address == address).driver = "virtio-pci"
        self._kernel.point()


class _Disks:
    def __init__(self, kernel: FakeKernel) -> None:
        self._kernel = kernel

    async def answers(self, device: Device) -> bool:
        return device.number not in self._kernel.silent

    async def protect(self, device: Device, *, on: bool) -> None:
        self._kernel.point()
        disk = self._kernel.of_number(device.number)
        assert disk is not None
        disk.protected = on
        self._kernel.point()
