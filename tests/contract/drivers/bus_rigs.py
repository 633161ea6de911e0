"""The stage for the HostBus contract: a chassis beside the driver under test, real or fake.

The real one is the lab's own chassis with a stand-in for QEMU: its bus is what is asked, no machine is needed.
"""

import asyncio
import sys
from pathlib import Path
from typing import Protocol

import pytest

from dpu_daemon.drivers.hostbus import LabBus
from dpu_daemon.engine.protocols import HostBus
from dpu_daemon.model.disk import UNLIMITED, DiskSeen
from lab.chassis.application import Chassis
from lab.chassis.config import BmcSection, ChassisConfig, HostSection, QemuSection
from tests.fakes.drivers import FakeBus
from tests.fakes.world import World

STAND_IN = Path(__file__).parents[2] / "unit" / "lab" / "chassis" / "fake_qemu.py"
MIB = 1 << 20


class BusRig(Protocol):
    @property
    def bus(self) -> HostBus: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def power_on(self) -> None: ...

    async def hold_devices(self) -> None:
        """From the next power-on no operating system lets go of a device."""
        ...

    def expose(self, handle: str) -> None:
        """A disk of the block layer, ready to be plugged."""
        ...


class RealBusRig:
    """A chassis in this process."""

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
            sentence = await asyncio.wait_for(self.lost.get(), 10)
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

    def expose(self, handle: str) -> None:
        """The stand-in opens what it is told."""


class FakeBusRig:
    """One World."""

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

    def expose(self, handle: str) -> None:
        self._world.state.disks[handle] = DiskSeen(
            handle=handle, source=None, size_bytes=8 * MIB, read_only=False, qos=UNLIMITED, exposed=True
        )
