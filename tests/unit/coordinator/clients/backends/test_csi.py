"""Foreign CSI drivers: what their codes mean, and what their contexts tell."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from coordinator.clients.backends.csi import CsiBackend
from coordinator.clients.backends.csi_address import address_of
from coordinator.clients.backends.settings import Address, Csi
from coordinator.clients.channel import open_channel
from coordinator.clients.storage import ExportWish, SnapshotWish, TargetPath, VolumeWish
from coordinator.core.storage.source import Source, SourceKind
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.csi_driver import FakeDriver, Rpc, serving

MIB = 1 << 20
WISH = VolumeWish(volume_id="v", size_bytes=64 * MIB)


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
async def backend(driver: FakeDriver) -> AsyncIterator[CsiBackend]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as directory:
        async with serving(driver, Path(directory) / "csi.sock") as endpoint:
            settings = Csi(endpoint=endpoint, node_id="{dpu}/{nqn}", parameters={"class": "fast"})
            channel = open_channel(endpoint, "", None)
            yield CsiBackend("san", settings, channel)
            await channel.close()


def turn(volume: str, generation: int, dpu: str = "dpu-1") -> ExportWish:
    return ExportWish(volume=volume, dpu=dpu, generation=generation, host_nqn="nqn.x")


@pytest.mark.parametrize(
    ("code", "reason", "again"),
    [
        (grpc.StatusCode.ABORTED, Reason.IN_FLIGHT, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.DEADLINE, True),
        (grpc.StatusCode.CANCELLED, Reason.UNAVAILABLE, True),
        (grpc.StatusCode.UNAVAILABLE, Reason.UNAVAILABLE, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.STORAGE_FULL, True),
        (grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID, False),
        (grpc.StatusCode.INTERNAL, Reason.INTERNAL, False),
        (grpc.StatusCode.UNIMPLEMENTED, Reason.UNSUPPORTED, False),
    ],
)
async def test_only_codes_of_work_that_may_go_on_or_later_go_well_are_repeated(
    driver: FakeDriver, backend: CsiBackend, code: grpc.StatusCode, reason: Reason, again: bool
) -> None:
    driver.stumble = [code]
    with pytest.raises(DpuError) as told:
        await backend.create_volume(WISH)
    assert (told.value.reason, told.value.retry) == (reason, again)


async def test_a_create_whose_answer_was_lost_gives_the_same_volume(driver: FakeDriver, backend: CsiBackend) -> None:
    driver.stumble = [grpc.StatusCode.DEADLINE_EXCEEDED]
    with pytest.raises(DpuError):
        await backend.create_volume(WISH)
    made = await backend.create_volume(WISH)
    assert len(driver.volumes) == 1
    assert next(iter(driver.volumes)) == "dpupool-v"
    assert made.context == {"made-by": "test"}
    assert await backend.find_volume(WISH) == made.volume_id


async def test_what_is_looked_for_and_cannot_be_made_was_never_made(backend: CsiBackend) -> None:
    source = Source(kind=SourceKind.SNAPSHOT, handle="gone")
    assert await backend.find_volume(VolumeWish(volume_id="x", size_bytes=MIB, source=source)) == ""
    await backend.create_volume(WISH)
    with pytest.raises(DpuError) as told:
        await backend.find_volume(VolumeWish(volume_id="v", size_bytes=MIB))
    assert "delete dpupool-v there by hand" in told.value.remedy


async def test_a_node_is_told_as_the_configuration_says(driver: FakeDriver, backend: CsiBackend) -> None:
    made = await backend.create_volume(WISH)
    address = await backend.export_volume(turn(made.volume_id, 1))
    assert driver.volumes["dpupool-v"].node == "dpu-1/nqn.x"
    assert (address.transport, address.host, address.port) == ("nvme+tcp", "192.0.2.7", 4420)
    assert address.export == f"nqn.2026-01.test:{made.volume_id}"


async def test_a_volume_published_elsewhere_names_the_node_and_is_asked_again(backend: CsiBackend) -> None:
    made = await backend.create_volume(WISH)
    await backend.export_volume(turn(made.volume_id, 1))
    with pytest.raises(DpuError) as told:
        await backend.export_volume(turn(made.volume_id, 2, "dpu-2"))
    assert (told.value.reason, told.value.retry) == (Reason.IN_USE, True)
    assert "dpu-1" in told.value.message


async def test_a_driver_that_tells_no_address_is_refused_without_its_values(
    driver: FakeDriver, backend: CsiBackend
) -> None:
    driver.context = {"password": "hunter2", "iqn": "iqn.x"}
    made = await backend.create_volume(WISH)
    with pytest.raises(DpuError) as told:
        await backend.export_volume(turn(made.volume_id, 1))
    assert told.value.reason is Reason.UNSUPPORTED
    assert told.value.field == "storage.san.address.host"
    assert "its context has iqn, nqn, password" in told.value.message
    assert "hunter2" not in str(told.value)


async def test_a_snapshot_that_is_not_ready_is_asked_for_again(driver: FakeDriver, backend: CsiBackend) -> None:
    driver.slow = True
    made = await backend.create_volume(WISH)
    asked = [SnapshotWish(snapshot_id="s", volume=made.volume_id)]
    (first,) = await backend.create_snapshots(asked)
    (second,) = await backend.create_snapshots(asked)
    assert (first.ready, second.ready, first.handle) == (False, True, second.handle)


async def test_lists_are_read_to_their_last_page(backend: CsiBackend) -> None:
    for number in range(3):
        await backend.create_volume(VolumeWish(volume_id=f"v{number}", size_bytes=MIB))
    assert len(await backend.list_volumes()) == 3


async def test_a_driver_without_publish_is_reached_by_its_volume_context(
    driver: FakeDriver, backend: CsiBackend
) -> None:
    driver.capabilities = (Rpc.CREATE_DELETE_VOLUME,)
    made = await backend.create_volume(WISH)
    context = {"traddr": "192.0.2.8,192.0.2.9", "subnqn": "nqn.y", "nsid": "3"}
    wish = ExportWish(volume=made.volume_id, dpu="dpu-1", generation=1, context=context)
    address = await backend.export_volume(wish)
    assert (address.host, address.port, address.nsid) == ("192.0.2.8", 4420, 3)
    assert address.paths == (TargetPath(host="192.0.2.9", port=4420),)
    await backend.unexport_volume(wish)
    assert "ControllerPublishVolume" not in driver.calls
    assert await backend.list_volumes() == []
    assert (await backend.capacity()).available_bytes is None


def test_an_address_may_come_as_one_word() -> None:
    keys = Address(path=("portals",), export=("target",))
    told = {"portals": "192.0.2.1:4420, [2001:db8::1]:4421", "target": "nqn.z"}
    found = address_of(told, keys, "it", "san", "c")
    assert (found.host, found.port, found.credentials) == ("192.0.2.1", 4420, "c")
    assert found.paths == (TargetPath(host="2001:db8::1", port=4421),)
    with pytest.raises(DpuError) as odd:
        address_of(told | {"nsid": "x"}, keys, "it", "san", "")
    assert "no number" in odd.value.message
