"""kubelet finds the plug-in, loses it, finds it again, or refuses it."""

import asyncio
import contextlib
import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from proto.csi.v1 import csi_pb2_grpc, identity_pb2, node_pb2
from tests.contract.csi.kubelet import LIMIT_S, FakeKubelet, appears, dialled
from tests.contract.csi.process import Site, started

NAME = "csi.dpupool.io"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.registry.mkdir()
    return site


@pytest.fixture
def kubelet(site: Site) -> Iterator[FakeKubelet]:
    kubelet = FakeKubelet(site.registry)
    yield kubelet
    kubelet.known.clear()


async def ready(site: Site) -> bool:
    async with dialled(site.csi) as channel:
        probed = await csi_pb2_grpc.IdentityStub(channel).Probe(
            identity_pb2.ProbeRequest(), timeout=LIMIT_S, wait_for_ready=True
        )
    return bool(probed.ready.value)


async def test_kubelet_registers_the_plugin_and_only_then_it_is_ready(site: Site, kubelet: FakeKubelet) -> None:
    async with started(site):
        await appears(site.registration)
        assert not await ready(site)
        await kubelet.scan()
        assert await ready(site)
    (info,) = kubelet.known.values()
    assert (info.type, info.name, info.endpoint) == ("CSIPlugin", NAME, str(site.csi))
    assert list(info.supported_versions) == ["1.0.0"]


async def test_a_plugin_with_a_node_registers_by_itself_and_tells_kubelet_its_name(
    tmp_path: Path, kubelet: FakeKubelet
) -> None:
    site = Site(tmp_path, enabled=None, node="host-1")
    async with started(site):
        await appears(site.registration)
        await kubelet.scan()
        assert await ready(site)
    assert (list(kubelet.known), kubelet.nodes) == ([NAME], ["host-1"])


async def test_sockets_are_for_root_alone_and_gone_after_the_end(site: Site) -> None:
    async with started(site) as running:
        await appears(site.registration)
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (site.csi, site.registration)}
        assert set(modes.values()) == {0o600}
        assert [path.name for path in site.csi.parent.iterdir()] == ["csi.sock"]
        status, _ = await running.terminate()
    assert status == 0
    assert not site.csi.exists()
    assert not site.registration.exists()


async def test_a_restarted_kubelet_finds_the_same_socket(site: Site, kubelet: FakeKubelet) -> None:
    async with started(site):
        await appears(site.registration)
        await kubelet.scan()
        again = FakeKubelet(site.registry)
        await again.scan()
    assert set(again.known) == {NAME}


async def test_a_kubelet_that_wipes_its_folder_finds_a_new_socket(site: Site, kubelet: FakeKubelet) -> None:
    async with started(site):
        await appears(site.registration)
        await kubelet.scan()
        shutil.rmtree(site.registry)
        site.registry.mkdir()
        await appears(site.registration)
        again = FakeKubelet(site.registry)
        await again.scan()
        assert await ready(site)
    assert set(again.known) == {NAME}


async def test_a_csi_socket_that_was_removed_is_made_again(site: Site) -> None:
    site.enabled = False
    async with started(site):
        site.csi.unlink()
        await appears(site.csi)
        assert await ready(site)


async def test_a_kubelet_that_starts_later_is_waited_for(site: Site, kubelet: FakeKubelet) -> None:
    site.registry.rmdir()
    async with started(site):
        assert not await ready(site)
        site.registry.mkdir()
        await appears(site.registration)
        await kubelet.scan()
        assert await ready(site)


async def test_a_refused_plugin_ends_and_says_what_kubelet_said(site: Site, kubelet: FakeKubelet) -> None:
    kubelet.refusal = "NodeGetInfo: Unimplemented"
    async with started(site) as running:
        await appears(site.registration)
        await kubelet.scan()
        status, log = await running.end()
    assert status == 69
    last = json.loads(log.splitlines()[-1])
    assert last["reason"] == "Forbidden"
    assert f"kubelet refused {NAME}: NodeGetInfo: Unimplemented" in last["event"]
    assert not site.registration.exists()


async def test_without_registration_kubelet_sees_nothing(site: Site) -> None:
    site.enabled = False
    async with started(site) as running:
        assert await ready(site)
        await running.terminate()
    assert list(site.registry.iterdir()) == []


async def test_a_killed_plugin_leaves_sockets_that_the_next_one_replaces(site: Site, kubelet: FakeKubelet) -> None:
    async with started(site) as running:
        await appears(site.registration)
        running.process.kill()
        await running.end()
        assert site.csi.is_socket()
        assert site.registration.is_socket()
    async with started(site):
        await kubelet_finds(kubelet, site)
        assert await ready(site)


async def kubelet_finds(kubelet: FakeKubelet, site: Site) -> None:
    """A stale socket refuses connections until the new one is there."""
    async with asyncio.timeout(LIMIT_S):
        while NAME not in kubelet.known:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await kubelet.register(site.registration)


async def test_a_second_instance_leaves_the_first_alone(site: Site) -> None:
    async with started(site):
        inode = site.csi.lstat().st_ino
        async with started(site, wait=False) as second:
            status, log = await second.end()
        assert site.csi.lstat().st_ino == inode
    assert status == 74
    assert "another process holds" in log


async def test_a_path_that_is_taken_ends_the_plugin_and_stays_as_it_is(site: Site) -> None:
    site.csi.parent.mkdir()
    site.csi.write_text("precious")
    async with started(site, wait=False) as running:
        status, log = await running.end()
    assert status == 74
    assert f"{site.csi} is no socket" in log
    assert site.csi.read_text() == "precious"


async def test_what_is_not_served_is_unimplemented_and_not_stated(site: Site) -> None:
    site.enabled = False
    async with started(site) as running:
        async with dialled(site.csi) as channel:
            stated = await csi_pb2_grpc.IdentityStub(channel).GetPluginCapabilities(
                identity_pb2.GetPluginCapabilitiesRequest(), timeout=LIMIT_S
            )
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await csi_pb2_grpc.NodeStub(channel).NodeGetInfo(node_pb2.NodeGetInfoRequest(), timeout=LIMIT_S)
        _, log = await running.terminate()
    assert not stated.capabilities
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    lines = [json.loads(line) for line in log.splitlines()]
    codes = {line["method"].rpartition("/")[2]: line["code"] for line in lines if line["event"] == "request"}
    assert codes == {"GetPluginCapabilities": "OK", "NodeGetInfo": "UNIMPLEMENTED"}
