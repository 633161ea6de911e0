"""The stage for the HostBus contract: a chassis beside the driver under test, real or fake.

The chassis is the lab's own with a stand-in for QEMU: its bus is what is asked, no machine is needed. The bus of FUSE
files stands on real qemu-storage-daemons: one is the DPU's, one plays the host.
"""

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Protocol

import pytest

from dpu_daemon.drivers.fusebus import FuseBus
from dpu_daemon.drivers.hostbus import LabBus
from dpu_daemon.drivers.qsd.session import QmpSession
from dpu_daemon.engine.protocols import HostBus
from dpu_daemon.model.disk import UNLIMITED, DiskSeen
from lab.chassis.application import Chassis
from lab.chassis.config import BmcSection, ChassisConfig, HostSection, QemuSection
from tests.fakes.drivers import FakeBus
from tests.fakes.fuse_host import FuseHost
from tests.fakes.qsd import StorageDaemon
from tests.fakes.world import World

STAND_IN = Path(__file__).parents[2] / "unit" / "lab" / "chassis" / "fake_qemu.py"
MIB = 1 << 20


class BusRig(Protocol):
    @property
    def bus(self) -> HostBus: ...

    slots: tuple[int, int]
    """For disks and for NICs."""
    on_at_start: bool

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def power_on(self) -> None: ...

    async def hold_devices(self) -> None:
        """From the next power-on no operating system lets go of a device."""
        ...

    async def expose(self, handle: str) -> None:
        """A disk of the block layer, ready to be plugged."""
        ...

    async def plugged(self, serial: str) -> None:
        """A disk was plugged; a host that holds devices takes it now."""
        ...


class RealBusRig:
    """A chassis in this process."""

    slots = (8, 4)
    on_at_start = False

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory = directory
        self._monkeypatch = monkeypatch
        program = directory / "qemu"
        program.write_text(f"#!{sys.executable} -ISE\n{STAND_IN.read_text(encoding='utf-8')}", encoding="utf-8")
        program.chmod(0o755)
        self._config = ChassisConfig(
            run_dir=str(directory / "run"),
            host=HostSection(name="host-1", system_uuid="0b9a5c35-6f3c-4c57-8c48-000000000001"),
            qemu=QemuSection(binary=str(program), power_on_timeout_s=10),
            bmc=BmcSection(username="admin", password="secret", port=0, plain_http=True),
        )
        nbd = directory / "dpu.nbd"
        nbd.touch()
        self.chassis = Chassis(self._config)
        self.bus = LabBus(socket=str(self._config.pcie_path), nbd_socket=str(nbd))
        self.lost: asyncio.Queue[str] = asyncio.Queue()

    async def start(self) -> None:
        await self.chassis.start()
        await self.bus.start(self.lost.put_nowait)

    async def stop(self) -> None:
        await self.bus.stop()
        await self.chassis.host.force_off()
        await self.chassis.stop()

    async def hear(self, word: str) -> str:
        """The next sentence with this word."""
        while True:
            sentence = await asyncio.wait_for(self.lost.get(), 30)
            if word in sentence:
                return sentence

    async def restart_chassis(self) -> None:
        """A new process of the same chassis; the host stays as it is."""
        await self.chassis.stop()
        self.chassis = Chassis(self._config)
        await self.chassis.start()

    async def power_on(self) -> None:
        await self.chassis.host.power_on()

    async def hold_devices(self) -> None:
        self._monkeypatch.setenv("FAKE_GUEST", "none")

    async def expose(self, handle: str) -> None:
        """The stand-in opens what it is told."""

    async def plugged(self, serial: str) -> None:
        """The stand-in holds by itself."""


class FakeBusRig:
    """One World."""

    slots = (8, 4)
    on_at_start = False

    def __init__(self) -> None:
        self._world = World()
        self._world.state.host_on = False
        self.bus = FakeBus(self._world)

    async def start(self) -> None:
        await self.bus.start(lambda _: None)

    async def stop(self) -> None:
        await self.bus.stop()

    async def power_on(self) -> None:
        self._world.state.host_on = True

    async def hold_devices(self) -> None:
        self._world.faults.host_holds = True

    async def plugged(self, serial: str) -> None:
        """The world holds by itself."""

    async def expose(self, handle: str) -> None:
        self._world.state.disks[handle] = DiskSeen(
            handle=handle, source=None, size_bytes=8 * MIB, read_only=False, qos=UNLIMITED, exposed=True
        )


class FuseBusRig:
    """Two qemu-storage-daemons; the disks are empty files."""

    slots = (8, 0)
    on_at_start = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.dpu = StorageDaemon(directory, "dpu")
        self.host = FuseHost(directory / "host")
        self.bus = FuseBus(
            directory=str(self.host.directory), qmp=str(self.host.qmp), nbd_socket=self.dpu.nbd, slots=self.slots[0]
        )
        self.lost: asyncio.Queue[str] = asyncio.Queue()
        self._monitor = QmpSession(self.dpu.qmp)
        self._holding = False
        self._held: list[int] = []

    async def start(self) -> None:
        self.dpu.start()
        self.host.start()
        await self._monitor.start(lambda _: None)
        await self.bus.start(self.lost.put_nowait)
        listen = {"type": "unix", "data": {"path": self.dpu.nbd}}
        await self._monitor.execute("nbd-server-start", {"addr": listen, "max-connections": 0})

    async def stop(self) -> None:
        for opened in self._held:
            with contextlib.suppress(OSError):  # its file was taken away by force
                os.close(opened)
        await self.bus.stop()
        await self._monitor.stop()
        self.host.stop()
        self.dpu.kill()

    async def power_on(self) -> None:
        """It is."""

    async def hold_devices(self) -> None:
        self._holding = True

    async def plugged(self, serial: str) -> None:
        if self._holding:
            self._held.append(await asyncio.to_thread(os.open, self.host.directory / serial, os.O_RDONLY))

    async def expose(self, handle: str) -> None:
        file = self.directory / f"{handle}.img"
        if file.exists():
            return
        file.touch()
        os.truncate(file, 8 * MIB)
        await self._monitor.execute("blockdev-add", {"driver": "file", "node-name": handle, "filename": str(file)})
        await self._monitor.execute(
            "block-export-add", {"type": "nbd", "id": handle, "node-name": handle, "name": handle, "writable": True}
        )

    async def grow(self, handle: str, size_bytes: int) -> None:
        """The DPU's end of a resize: its export comes back with the new size."""
        await self._monitor.execute("block-export-del", {"id": handle, "mode": "hard"})

        async def gone() -> bool:
            return not await self._monitor.execute("query-block-exports")

        await self._monitor.wait_until(gone, event="BLOCK_EXPORT_DELETED", timeout_s=30, waited_for="the export's end")
        await self._monitor.execute("block_resize", {"node-name": handle, "size": size_bytes})
        await self._monitor.execute(
            "block-export-add", {"type": "nbd", "id": handle, "node-name": handle, "name": handle, "writable": True}
        )
