import asyncio
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dpu_daemon.drivers.device_notes import DeviceNoteFiles
from dpu_daemon.drivers.kernel_alarms import KernelAlarms
from dpu_daemon.drivers.netdev_vfs import NetdevVfs
from dpu_daemon.drivers.vfs import SysfsVfs
from dpu_daemon.model.vf import VfSeen
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.netns import inside, ip, netns
from tests.fakes.sysfs_vfs import PF, PF_ADDRESS, FakeSysfs


@pytest.fixture
def tree(tmp_path: Path) -> FakeSysfs:
    return FakeSysfs(tmp_path / "sys")


def vfs(tree: FakeSysfs, pf: str = PF, count: int = 0) -> SysfsVfs:
    return SysfsVfs(pf, count=count, root=tree.root, write=tree.write)


@pytest.mark.parametrize("pf", [PF, PF_ADDRESS])
async def test_functions_are_seen_with_all_that_the_kernel_tells(tree: FakeSysfs, pf: str) -> None:
    tree.make(4)
    driver = vfs(tree, pf)
    seen = await driver.look()
    assert sorted(seen) == [0, 1, 2, 3]
    assert seen[1] == VfSeen(
        vf=1,
        netdev="ens1f0v1",
        mac="02:00:00:00:00:01",
        mtu=1500,
        pci_address="0000:03:00.3",
        numa_node=1,
        driver="mlx5_core",
        pf_pci_address=PF_ADDRESS,
    )
    assert driver.version() == f"{pf} {PF_ADDRESS}, 4 of 8 functions"


async def test_a_function_in_a_container_or_with_vfio_has_no_network_device_and_no_fault(tree: FakeSysfs) -> None:
    tree.make(2)
    tree.take(0)
    tree.bind(1, "vfio-pci", group=17)
    seen = await vfs(tree).look()
    assert (seen[0].netdev, seen[0].fault) == ("", "")
    assert (seen[1].netdev, seen[1].driver, seen[1].iommu_group, seen[1].fault) == ("", "vfio-pci", 17, "")
    assert seen[1].is_userspace
    assert not seen[0].is_userspace


async def test_a_function_without_a_driver_or_an_iommu_group_has_a_fault(tree: FakeSysfs) -> None:
    tree.make(2)
    tree.bind(0, "")
    tree.bind(1, "vfio-pci")
    seen = await vfs(tree).look()
    assert seen[0].fault == "function 0000:03:00.2 has no driver"
    assert seen[1].fault == "function 0000:03:00.3 has driver vfio-pci and no IOMMU group"


@pytest.mark.parametrize(("state", "fault"), [("down", "physical function ens1f0 is down"), ("unknown", "")])
async def test_a_physical_function_that_is_down_is_every_functions_fault(
    tree: FakeSysfs, state: str, fault: str
) -> None:
    tree.make(2)
    tree.set_pf(state)
    assert {function.fault for function in (await vfs(tree).look()).values()} == {fault}


async def test_a_missing_physical_function_is_said_by_name(tree: FakeSysfs) -> None:
    with pytest.raises(DpuError, match="no physical function ens9") as raised:
        await vfs(tree, "ens9").look()
    assert raised.value.reason is Reason.NOT_FOUND


async def test_functions_are_set_up_where_there_are_none(tree: FakeSysfs) -> None:
    driver = vfs(tree, count=4)
    await driver.start(lambda _: None)
    await driver.stop()
    assert tree.writes == ["4"]
    assert len(await driver.look()) == 4
    assert tree.writes == ["4"]


async def test_a_look_waits_for_a_card_that_is_making_functions(tree: FakeSysfs) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(path: Path, text: str) -> None:
        begun.set()
        assert go_on.wait(20)
        tree.write(path, text)

    driver = SysfsVfs(PF, count=2, root=tree.root, write=slow)
    starting = asyncio.create_task(driver.start(lambda _: None))
    await asyncio.to_thread(begun.wait, 20)
    looking = asyncio.create_task(driver.look())
    await asyncio.sleep(0.01)
    assert not looking.done()
    go_on.set()
    assert len(await looking) == 2
    await starting
    await driver.stop()


async def test_functions_that_exist_are_never_set_up_anew(tree: FakeSysfs) -> None:
    tree.make(2)
    with capture_logs() as logs:
        assert len(await vfs(tree, count=4).look()) == 2
    assert tree.writes == []
    assert "has 2 functions, not 4" in logs[0]["event"]


async def test_more_functions_than_the_card_can_have_are_not_tried_and_said_once(tree: FakeSysfs) -> None:
    driver = vfs(tree, count=9)
    with capture_logs() as logs:
        await driver.look()
        await driver.look()
    assert tree.writes == []
    assert [entry["event"] for entry in logs] == ["ens1f0 can have 8 functions; 9 are asked for ([vfs] count)"]


async def test_functions_that_cannot_be_set_up_are_said(tree: FakeSysfs) -> None:
    def refuse(_path: Path, _text: str) -> None:
        raise OSError(12, "Cannot allocate memory")

    with capture_logs() as logs:
        assert await SysfsVfs(PF, count=4, root=tree.root, write=refuse).look() == {}
    assert "4 functions of ens1f0 cannot be set up: [Errno 12] Cannot allocate memory" in logs[0]["event"]


async def test_plain_devices_stand_for_functions_and_still_count_while_a_container_has_them() -> None:
    with netns("vfs") as name:
        ip("-n", name, "link", "add", "vf0", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "pf0vf0")
        with inside(name):
            driver = NetdevVfs("vf{n}", 2)
            seen = await driver.look()
        assert seen[0] == VfSeen(vf=0, netdev="vf0", mac="02:00:00:00:00:01", mtu=1500)
        assert seen[1] == VfSeen(vf=1)
        assert seen[1].device_id == "vf1"
        assert driver.version() == "2 network devices"


async def test_the_kernel_tells_of_a_device_that_comes() -> None:
    news = asyncio.Event()
    with netns("alarm") as name:
        alarms = KernelAlarms()
        with inside(name):
            alarms.start(news.set)
        ip("-n", name, "link", "add", "vf0", "type", "veth", "peer", "name", "pf0vf0")
        async with asyncio.timeout(30):
            await news.wait()
        alarms.stop()


async def test_the_mac_of_a_function_needs_a_physical_function_that_can_set_it(tree: FakeSysfs) -> None:
    tree.make(1)
    with pytest.raises(DpuError) as raised:
        await vfs(tree).set_mac(0, "02:00:00:00:00:01")
    assert raised.value.reason is Reason.UNSUPPORTED
    with pytest.raises(DpuError) as raised:
        await vfs(tree, "ens9").set_mac(0, "02:00:00:00:00:01")
    assert raised.value.reason is Reason.NOT_FOUND
    with pytest.raises(DpuError) as raised:
        await NetdevVfs("vf{n}", 1).set_mac(0, "02:00:00:00:00:01")
    assert raised.value.reason is Reason.UNSUPPORTED


def test_a_devices_note_is_where_and_what_the_specification_says(tmp_path: Path) -> None:
    notes = DeviceNoteFiles(tmp_path, "dpupool.io/vf")
    notes.put(VfSeen(vf=0, pci_address="0000:03:00.2", pf_pci_address=PF_ADDRESS))
    path = tmp_path / "dp/dpupool.io-vf-0000:03:00.2-device.json"
    assert path.read_text() == (
        '{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:03:00.2","pf-pci-address":"0000:03:00.0"}}'
    )
    assert notes.device_ids() == {"0000:03:00.2"}
    (tmp_path / "dp/.dpupool.io-vf-0000:03:00.2-device.json.new").write_text("of a killed daemon")
    notes.drop("0000:03:00.2")
    notes.drop("0000:03:00.2")
    assert list((tmp_path / "dp").iterdir()) == []


def test_notes_of_another_resource_and_of_emulated_functions_are_none_of_ours(tmp_path: Path) -> None:
    notes, others = DeviceNoteFiles(tmp_path, "a.io/vf"), DeviceNoteFiles(tmp_path, "a.io/vf-fast")
    others.put(VfSeen(vf=0, pci_address="0000:03:00.2"))
    notes.put(VfSeen(vf=3))
    assert notes.device_ids() == frozenset()
    assert others.device_ids() == {"0000:03:00.2"}


def test_a_note_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "dp").write_text("")
    with pytest.raises(DpuError, match="cannot be written") as raised:
        DeviceNoteFiles(tmp_path, "a.io/vf").put(VfSeen(vf=0, pci_address="0000:03:00.2"))
    assert raised.value.reason is Reason.UNAVAILABLE
