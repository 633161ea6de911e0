"""CNI mode host: the container's side here, the switch on a DPU that may be dead, slow or back again."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.cni.behind_dpu import BehindDpuRig, behind_dpu
from tests.contract.cni.node import assigned, conf
from tests.contract.cni.test_bad_input import error_of, valid
from tests.contract.cni.test_conformance import added, done, until

SILENT_S = 1.0
"""As in the settings of the rig."""


@pytest.fixture
async def rig(executable: Path) -> AsyncIterator[BehindDpuRig]:
    async with behind_dpu(executable) as rig:
        yield rig


async def test_a_function_goes_in_and_comes_back_as_it_was(rig: BehindDpuRig) -> None:
    await rig.assign(assigned("web"), assigned("api", 6))
    web, api = rig.container(), rig.container()
    clean = rig.state(web, api)
    result = await added(rig, web)
    (interface,) = result["interfaces"]
    assert (interface["name"], interface["mtu"], interface["sandbox"]) == ("eth0", 1400, f"/run/netns/{web}")
    await added(rig, api, pod="api")
    await done(rig, "CHECK", web, config=conf(prevResult=result))
    for address in ("10.16.0.6", "fd00:10::6"):
        ping = ["ip", "netns", "exec", web, "ping", "-c1", "-W2", address]
        await asyncio.to_thread(subprocess.run, ping, check=True, capture_output=True)
    await done(rig, "DEL", web)
    await done(rig, "DEL", api)
    await done(rig, "DEL", api, environment={"CNI_NETNS": ""})
    assert down(rig.state(web, api)) == down(clean)


def down(state: object) -> str:
    """A function that was used is as far down as one that never was; the switch leaves the representor up."""
    return json.dumps(state, sort_keys=True).replace('"LOWERLAYERDOWN"', '"DOWN"')


async def test_the_runtime_may_name_the_function(rig: BehindDpuRig) -> None:
    await rig.assign(assigned("web"))
    container = rig.container()
    await added(rig, container, config=conf(runtimeConfig={"deviceID": "vf2"}))
    assert rig.ovs.vsctl("list-ports", "br-int").split() == ["pf0vf2"]
    other = rig.container()
    await rig.assign(assigned("api", 6))
    error = error_of(await rig.call("ADD", other, pod="api", config=conf(runtimeConfig={"deviceID": "vf2"})))
    assert error["code"] == 103
    assert "default/web" in error["msg"]


async def test_an_add_finds_no_function_left_and_says_how_many_there_are(rig: BehindDpuRig) -> None:
    await rig.assign(*(assigned(f"p{n}", 20 + n) for n in range(5)))
    containers = [rig.container() for _ in range(5)]
    for number in range(4):
        await added(rig, containers[number], pod=f"p{number}")
    error = error_of(await rig.call("ADD", containers[4], pod="p4"))
    assert error["code"] == 108
    assert "4 of 4" in error["msg"]
    await done(rig, "DEL", containers[0])
    await added(rig, containers[4], pod="p4")


async def test_a_black_hole_is_named_within_its_time_by_every_verb(rig: BehindDpuRig) -> None:
    await rig.assign(assigned("web"), assigned("api", 6))
    web, api = rig.container(), rig.container()
    untouched = rig.state(web)["links"]
    await added(rig, web)
    clean = rig.state(api)
    rig.freeze_dpu()
    for verb, container, code in (("STATUS", "", 50), ("ADD", api, 50), ("CHECK", web, 50)):
        began = time.monotonic()
        error = error_of(await rig.call(verb, container, pod="api" if container == api else "web"))
        took_s = time.monotonic() - began
        assert (verb, error["code"]) == (verb, code)
        assert "DPU dpu-1" in error["msg"]
        # Far below the 20 s that an ADD may wait; the rest is a busy machine's.
        assert took_s < SILENT_S + 14
    assert rig.state(api) == clean
    await done(rig, "DEL", web)
    assert down(rig.state(web)["links"]) == down(untouched)
    rig.thaw_dpu()
    await until(rig, "STATUS", fails=False)


async def test_a_del_with_a_dead_dpu_succeeds_and_the_port_is_free_when_it_is_back(rig: BehindDpuRig) -> None:
    await rig.assign(assigned("web"))
    old, new = rig.container(), rig.container()
    clean = rig.state(old)["links"]
    await added(rig, old)
    rig.kill_dpu()
    await done(rig, "DEL", old)
    assert down(rig.state(old)["links"]) == down(clean)
    assert rig.ovs.vsctl("list-ports", "br-int").split() != []
    rig.spawn_dpu()
    await until(rig, "STATUS", fails=False)
    await added(rig, new)
    await done(rig, "CHECK", new)
    await done(rig, "DEL", old)
    await done(rig, "CHECK", new)
    await done(rig, "DEL", new)
    assert rig.ovs.vsctl("list-ports", "br-int").split() == []


async def test_a_pending_release_survives_the_host_s_own_restart(rig: BehindDpuRig) -> None:
    await rig.assign(assigned("web"))
    container = rig.container()
    await added(rig, container)
    rig.kill_dpu()
    await done(rig, "DEL", container)
    rig.kill()
    rig.spawn_dpu()
    await rig.start()
    async with asyncio.timeout(20):
        while rig.ovs.vsctl("list-ports", "br-int").split():
            await done(rig, "STATUS")


async def test_a_dpu_that_is_killed_leaves_pods_running_and_serves_on(rig: BehindDpuRig) -> None:
    await rig.assign(assigned("web"), assigned("api", 6))
    web, api = rig.container(), rig.container()
    await added(rig, web)
    rig.kill_dpu()
    assert error_of(await rig.call("ADD", api, pod="api"))["code"] == 50
    rig.spawn_dpu()
    await until(rig, "STATUS", fails=False)
    await done(rig, "CHECK", web)
    await added(rig, api, pod="api")


async def test_gc_reaches_the_dpu(rig: BehindDpuRig) -> None:
    await rig.assign(assigned("web"), assigned("api", 6))
    web, api = rig.container(), rig.container()
    await added(rig, web)
    await added(rig, api, pod="api")
    await done(rig, "GC", config=valid([{"containerID": web, "ifname": "eth0"}]))
    assert len(rig.ovs.vsctl("list-ports", "br-int").split()) == 1
    await done(rig, "CHECK", web)
