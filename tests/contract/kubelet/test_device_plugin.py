"""The device plug-in over real sockets, with a kubelet that behaves as kubelet does."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from dpu_daemon.model.assignment import Holder
from dpu_daemon.service.kubelet import UNHEARD_LOOKS
from proto.deviceplugin.v1beta1 import api_pb2
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.vf_host import LOOK_S, RESOURCE, VfHost, vf_host

FIRST, SECOND, THIRD, FOURTH = (f"0000:03:00.{number}" for number in range(2, 6))
ALL = {FIRST, SECOND, THIRD, FOURTH}


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
async def host(short: Path) -> AsyncIterator[VfHost]:
    async with vf_host(short) as running:
        yield running


async def allocate(host: VfHost, *ids: str) -> api_pb2.AllocateResponse:
    request = api_pb2.AllocateRequest()
    request.container_requests.add(devices_ids=ids)
    answer: api_pb2.AllocateResponse = await host.kubelet.plugin.Allocate(request)
    return answer


async def refusal(host: VfHost, *ids: str) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await allocate(host, *ids)
    return raised.value


async def test_kubelet_hears_of_all_functions_and_where_they_sit(host: VfHost) -> None:
    request = host.kubelet.registered[0]
    assert (request.version, request.resource_name) == ("v1beta1", RESOURCE)
    assert request.endpoint == "dpupool-dpupool.io_vf.sock"
    assert (host.kubelet.plugins / request.endpoint).stat().st_mode & 0o777 == 0o600
    assert host.kubelet.options.get_preferred_allocation_available
    assert not host.kubelet.options.pre_start_required
    nodes = {device_id: [node.ID for node in d.topology.nodes] for device_id, d in host.kubelet.devices.items()}
    assert nodes == {FIRST: [0], SECOND: [1], THIRD: [0], FOURTH: [1]}
    assert len(host.kubelet.lists) == 1


async def test_a_pod_gets_functions_of_one_node_by_their_addresses(host: VfHost) -> None:
    answer = await host.kubelet.admit("shop/web", 2)
    assert dict(answer.envs) == {"PCIDEVICE_DPUPOOL_IO_VF": f"{FIRST},{THIRD}"}
    assert not answer.devices
    assert not answer.mounts
    note = host.folder / f"devinfo/dp/dpupool.io-vf-{FIRST}-device.json"
    assert '"pci-address":"0000:03:00.2"' in note.read_text()


async def test_a_function_for_a_virtual_machine_comes_with_the_files_of_vfio(host: VfHost) -> None:
    host.tree.bind(0, "vfio-pci", group=17)
    answer = (await allocate(host, FIRST)).container_responses[0]
    files = [(each.container_path, each.host_path, each.permissions) for each in answer.devices]
    assert files == [("/dev/vfio/vfio",) * 2 + ("rw",), ("/dev/vfio/17",) * 2 + ("rw",)]


async def test_an_unknown_function_is_refused(host: VfHost) -> None:
    error = await refusal(host, "0000:ff:00.0")
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "this host has no function 0000:ff:00.0" in str(error.details())


async def test_a_function_named_twice_is_refused(host: VfHost) -> None:
    assert (await refusal(host, FIRST, FIRST)).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_function_with_a_fault_is_refused_even_before_kubelet_heard_of_it(host: VfHost) -> None:
    host.tree.set_pf("down")
    error = await refusal(host, FIRST)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "physical function ens1f0 is down" in str(error.details())


async def test_of_several_functions_all_or_none_are_given(host: VfHost) -> None:
    await refusal(host, FIRST, "0000:ff:00.0")
    assert host.notes.device_ids() == frozenset()
    assert host.pool.census()["counted"] == 0


async def test_kubelet_hears_when_the_physical_function_goes_down_and_comes_back(host: VfHost) -> None:
    host.tree.set_pf("down")
    await host.kubelet.until(set())
    host.tree.set_pf("up")
    await host.kubelet.until(ALL)


async def test_a_function_that_is_gone_is_unhealthy_and_still_counted(host: VfHost) -> None:
    host.tree.remove(1)
    await host.kubelet.until(ALL - {SECOND})
    assert set(host.kubelet.devices) == ALL


async def test_a_physical_function_that_is_gone_makes_all_unhealthy(host: VfHost) -> None:
    shutil.rmtree(host.tree.root / "class")
    await host.kubelet.until(set())
    assert set(host.kubelet.devices) == ALL


async def test_a_function_in_its_pods_container_stays_healthy(host: VfHost) -> None:
    await host.kubelet.admit("shop/web")
    await host.add(Holder("c1", "net1"), "shop/web", FIRST)
    await host.pool.refresh()
    assert host.kubelet.healthy() == ALL
    assert host.pool.census() == {"held": 1, "fault": 0, "counted": 0, "free": 3}


async def test_a_function_that_a_pod_got_without_kubelet_is_taken_out_of_its_count(host: VfHost) -> None:
    chosen = await host.add(Holder("c1", "eth0"), "shop/web")
    assert chosen.device_id == FOURTH
    await host.kubelet.until(ALL - {FOURTH})
    assert "held by shop/web" in str((await refusal(host, FOURTH)).details())
    await host.delete(Holder("c1", "eth0"))
    await host.kubelet.until(ALL)


async def test_what_kubelet_gave_is_not_chosen_for_a_pod_that_names_none(host: VfHost) -> None:
    await host.kubelet.admit("shop/web", 4)
    with pytest.raises(DpuError, match="4 kept by kubelet") as raised:
        await host.add(Holder("c2", "eth0"), "shop/other")
    assert raised.value.reason is Reason.EXHAUSTED


async def test_a_function_whose_old_pod_still_has_it_is_given_but_not_added(host: VfHost) -> None:
    await host.kubelet.admit("shop/old")
    await host.add(Holder("c1", "net1"), "shop/old", FIRST)
    host.kubelet.forget_pod("shop/old")
    await host.kubelet.admit("shop/new")
    with pytest.raises(DpuError, match="is held by shop/old, container c1") as raised:
        await host.add(Holder("c2", "net1"), "shop/new", FIRST)
    assert raised.value.reason is Reason.IN_USE
    await host.delete(Holder("c1", "net1"))
    assert (await host.add(Holder("c2", "net1"), "shop/new", FIRST)).device_id == FIRST


async def test_kubelets_restart_finds_the_plug_in_again_and_pods_keep_what_they_have(host: VfHost) -> None:
    await host.kubelet.admit("shop/web")
    await host.add(Holder("c1", "net1"), "shop/web", FIRST)
    await host.kubelet.restart()
    await host.kubelet.until_registered(2)
    await host.kubelet.until(ALL)
    assert FIRST not in host.kubelet.free()


async def test_a_kubelet_that_hung_up_is_told_again(host: VfHost) -> None:
    await host.kubelet.hang_up()
    await host.kubelet.until_registered(2)
    await host.kubelet.until(ALL)


async def test_a_kubelet_that_follows_is_told_once(host: VfHost) -> None:
    await asyncio.sleep((UNHEARD_LOOKS + 2) * LOOK_S)
    assert len(host.kubelet.registered) == 1


async def test_a_kubelet_that_comes_late_is_waited_for(short: Path) -> None:
    host = VfHost(short)
    await host.start()
    await asyncio.sleep(0.1)
    await host.kubelet.start()
    await host.kubelet.until(ALL)
    await host.stop()
    await host.kubelet.stop()


async def test_the_plug_ins_restart_changes_no_count(host: VfHost) -> None:
    await host.kubelet.admit("shop/web")
    await host.add(Holder("c1", "net1"), "shop/web", FIRST)
    await host.stop()
    await host.kubelet.until(set())
    await host.start()
    await host.kubelet.until(ALL)
    assert len(host.kubelet.registered) == 2
    assert all(set(each) == ALL for each in host.kubelet.lists)


async def test_what_was_given_before_a_restart_is_still_kept_after_it(host: VfHost) -> None:
    await host.kubelet.admit("shop/web", 4)
    await host.stop()
    await host.start(records=False)
    with pytest.raises(DpuError, match="4 kept by kubelet"):
        await host.add(Holder("c2", "eth0"), "shop/other")


async def test_a_socket_that_somebody_removed_is_made_again(host: VfHost) -> None:
    host.server.path.unlink()
    await host.kubelet.until_registered(2)
    await host.kubelet.until(ALL)


async def test_a_socket_that_goes_while_it_is_made_is_made_again(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kubelet empties its directory between our binding and our first look at what we bound."""
    host = VfHost(short)
    await host.kubelet.start()
    kind, emptied = type(grpc.aio.server()), False
    start = kind.start

    async def start_and_empty(server: grpc.aio.Server) -> None:
        nonlocal emptied
        await start(server)
        if host.server.path.exists() and not emptied:
            emptied = True
            host.server.path.unlink()

    monkeypatch.setattr(kind, "start", start_and_empty)
    await host.start()
    await host.kubelet.until(ALL)
    assert emptied
    await host.stop()
    await host.kubelet.stop()


async def test_a_directory_that_was_removed_is_waited_for(host: VfHost) -> None:
    await host.kubelet.stop()
    shutil.rmtree(host.kubelet.plugins)
    await host.kubelet.start()
    await host.kubelet.until_registered(2)
    await host.kubelet.until(ALL)


async def test_a_refusal_of_kubelet_is_tried_again(short: Path) -> None:
    host = VfHost(short)
    host.kubelet.refuse = "resource name is not known"
    await host.kubelet.start()
    await host.start()
    await asyncio.sleep(0.3)
    assert host.kubelet.registered == []
    host.kubelet.refuse = ""
    await host.kubelet.until(ALL)
    await host.stop()
    await host.kubelet.stop()


async def test_a_pod_that_ended_gives_its_function_and_its_note_back(host: VfHost) -> None:
    await host.kubelet.admit("shop/web")
    host.kubelet.forget_pod("shop/web")
    host.skipped_s = 120.0
    await host.pool.refresh()
    assert host.notes.device_ids() == frozenset()
    assert host.pool.census()["free"] == 4


async def test_without_kubelets_records_what_no_container_has_is_given_up_late(host: VfHost) -> None:
    await host.stop()
    await host.start(records=False)
    await allocate_when_known(host)
    host.skipped_s = 120.0
    await host.pool.refresh()
    assert host.pool.census()["counted"] == 1
    host.skipped_s = 700.0
    await host.pool.refresh()
    assert host.pool.census()["counted"] == 0


async def allocate_when_known(host: VfHost) -> None:
    await host.kubelet.until(ALL)
    await host.kubelet.admit("shop/web")


async def test_kubelet_and_the_journal_at_odds_are_told_of(host: VfHost) -> None:
    await host.kubelet.admit("shop/web")
    await host.add(Holder("c1", "net1"), "shop/other", FIRST)
    host.skipped_s = 120.0
    await host.pool.refresh()
    assert host.pool.counts.conflicts() == (
        f"kubelet counts {FIRST} to shop/web, but a container of shop/other has it",
    )


async def test_a_pod_start_is_not_held_up(host: VfHost) -> None:
    answer = await host.kubelet.plugin.PreStartContainer(api_pb2.PreStartContainerRequest(devices_ids=[FIRST]))
    assert answer == api_pb2.PreStartContainerResponse()


async def test_the_faults_of_functions_are_an_event(host: VfHost) -> None:
    host.tree.set_pf("down")
    await host.pool.refresh()
    async for event in host.ledger.events(0):
        if event.reason == "FunctionsAtFault":
            assert event.message == "4 of 4 functions cannot be given; first: physical function ens1f0 is down"
            assert event.warning
            break
