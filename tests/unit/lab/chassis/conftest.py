import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from lab.chassis.application import Chassis
from lab.chassis.config import BmcSection, ChassisConfig, HostSection, QemuSection
from lab.chassis.slots import DiskProtocol, DiskSpec

FAKE = Path(__file__).with_name("fake_qemu.py")


@pytest.fixture
def config(tmp_path: Path) -> ChassisConfig:
    """Settings of a chassis whose QEMU is the stand-in."""
    program = tmp_path / "qemu"
    program.write_text(f"#!{sys.executable} -ISE\n{FAKE.read_text(encoding='utf-8')}", encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "nbd").touch()
    return ChassisConfig(
        run_dir=str(tmp_path / "run"),
        host=HostSection(name="host-1", system_uuid="0b9a5c35-6f3c-4c57-8c48-000000000001"),
        qemu=QemuSection(binary=str(program), power_on_timeout_s=10),
        bmc=BmcSection(username="admin", password="secret", port=0, plain_http=True),
    )


@pytest.fixture
async def chassis(config: ChassisConfig) -> AsyncIterator[Chassis]:
    """A chassis that serves, its host off; whatever runs at the end is ended."""
    made = Chassis(config)
    await made.start()
    yield made
    await made.host.force_off()
    await made.stop()


@pytest.fixture
def disk(tmp_path: Path) -> Callable[..., DiskSpec]:
    """Makes disks that differ in what the test cares for."""

    def make(slot: int = 0, function_id: str = "vol-a", **fields: object) -> DiskSpec:
        known: dict[str, object] = {
            "protocol": DiskProtocol.VIRTIO_BLK,
            "nbd_path": str(tmp_path / "nbd"),
            "export": function_id,
            "serial": f"S{slot}",
        }
        return DiskSpec(slot, function_id, **(known | fields))  # type: ignore[arg-type]

    return make
