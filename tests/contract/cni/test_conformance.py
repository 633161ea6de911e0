"""The node's daemon keeps to the CNI specification, called by the real executable, on a real switch."""

import asyncio
import json
import subprocess
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from proto.dpu.v1 import pods_pb2
from tests.contract.cni.daemon import Said
from tests.contract.cni.node import CniNodeRig, assigned, cni_node, conf, link_in, pod_args
from tests.contract.cni.test_bad_input import error_of, valid
from tests.fakes.netns import ip
from tests.fakes.orders import give

SHAPES: dict[str, set[str]] = {
    "0.4.0": {"name", "mac", "sandbox"},
    "1.0.0": {"name", "mac", "sandbox"},
    "1.1.0": {"name", "mac", "sandbox", "mtu"},
}


async def added(node: CniNodeRig, container: str, **call: Any) -> dict[str, Any]:
    said = await node.call("ADD", container, **call)
    assert (said.status, said.stderr) == (0, b""), said.stdout
    result: dict[str, Any] = json.loads(said.stdout)
    return result


async def done(node: CniNodeRig, verb: str, container: str = "", **call: Any) -> None:
    said = await node.call(verb, container, **call)
    assert (said.status, said.stdout, said.stderr) == (0, b"", b""), said.stdout


@pytest.mark.parametrize("version", SHAPES)
async def test_results_have_the_shape_of_the_version_that_was_asked_for(node: CniNodeRig, version: str) -> None:
    await node.assign(assigned("web"))
    container = node.container()
    result = await added(node, container, config=conf(version))
    assert result["cniVersion"] == version
    outside, inside = result["interfaces"]
    assert "sandbox" not in outside
    assert set(inside) == SHAPES[version]
    assert (inside["name"], inside["sandbox"]) == ("eth0", f"/run/netns/{container}")
    for entry in result["ips"]:
        assert result["interfaces"][entry["interface"]] is not outside
        assert entry.get("version") == (str(ip_interface(entry["address"]).version) if version == "0.4.0" else None)
    assert [entry["address"] for entry in result["ips"]] == ["10.16.0.5/16", "fd00:10::5/64"]
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.16.0.1"}, {"dst": "::/0", "gw": "fd00:10::1"}]
    assert result["dns"] == {"nameservers": ["10.96.0.10"]}


async def test_what_plugins_before_had_passes_through(node: CniNodeRig) -> None:
    await node.assign(assigned("web"))
    before: dict[str, Any] = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "lo", "sandbox": "/run/netns/x"}],
        "ips": [{"address": "127.0.0.1/8", "interface": 0}],
        "dns": {"nameservers": ["192.0.2.53"]},
        "example.com/more": [1, {"a": None}],
    }
    result = await added(node, node.container(), config=conf("1.0.0", prevResult=before))
    assert result["interfaces"][0] == before["interfaces"][0]
    assert result["ips"][0] == before["ips"][0]
    assert [entry["interface"] for entry in result["ips"][1:]] == [2, 2]
    assert result["interfaces"][2]["name"] == "eth0"
    assert result["dns"] == before["dns"]
    assert result["example.com/more"] == before["example.com/more"]


@pytest.mark.parametrize(("version", "of_ip"), [("0.4.0", {"version": "4"}), ("1.0.0", {})])
async def test_what_plugins_before_had_takes_the_shape_of_the_version(
    node: CniNodeRig, version: str, of_ip: dict[str, str]
) -> None:
    await node.assign(assigned("web"))
    before = {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "net0", "mtu": 9000, "sandbox": "/run/netns/x"}],
        "ips": [{"address": "192.0.2.7/24", "interface": 0}],
        "routes": [{"dst": "198.51.100.0/24", "priority": 5}],
    }
    result = await added(node, node.container(), config=conf(version, prevResult=before))
    assert result["interfaces"][0] == {"name": "net0", "sandbox": "/run/netns/x"}
    assert result["ips"][0] == {"address": "192.0.2.7/24", "interface": 0, **of_ip}
    assert result["routes"][0] == {"dst": "198.51.100.0/24"}


async def test_name_servers_of_the_configuration_go_before_those_that_are_assigned(node: CniNodeRig) -> None:
    await node.assign(assigned("web"))
    told = {"nameservers": ["192.0.2.53"], "search": ["example.org"]}
    assert (await added(node, node.container(), config=conf(dns=told)))["dns"] == told


async def test_containers_reach_each_other_over_both_families_at_once(node: CniNodeRig) -> None:
    await node.assign(assigned("web"), assigned("api", 6))
    web, api = node.container(), node.container()
    await added(node, web)
    await added(node, api, pod="api")
    for address in ("10.16.0.6", "fd00:10::6"):
        ping = ["ip", "netns", "exec", web, "ping", "-c1", "-W2", address]
        await asyncio.to_thread(subprocess.run, ping, check=True, capture_output=True)


async def test_containers_of_a_dpu_itself_are_served_by_its_daemon(executable: Path) -> None:
    async with cni_node(executable, dpu=True) as node:
        await node.assign(assigned("web"), assigned("api", 6))
        web, api = node.container(), node.container()
        clean = node.state(web, api)
        result = await added(node, web)
        await added(node, api, pod="api")
        await done(node, "CHECK", web, config=conf(prevResult=result))
        ping = ["ip", "netns", "exec", web, "ping", "-c1", "-W2", "10.16.0.6"]
        await asyncio.to_thread(subprocess.run, ping, check=True, capture_output=True)
        node.kill()
        await node.start()
        await done(node, "CHECK", web)
        await done(node, "DEL", web)
        await done(node, "DEL", api)
        assert node.state(web, api) == clean


async def test_arguments_come_in_any_order_and_unknown_ones_are_ignored_on_wish(node: CniNodeRig) -> None:
    await node.assign(assigned("web"))
    container = node.container()
    for text in (
        "K8S_POD_NAME=web;IgnoreUnknown=true;K8S_POD_NAMESPACE=default;COLOUR=red",
        "COLOUR=red;K8S_POD_NAMESPACE=default;;K8S_POD_NAME=web;IgnoreUnknown=T;",
        "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
    ):
        await added(node, container, environment={"CNI_ARGS": text})
        await done(node, "DEL", container)


async def test_a_second_add_is_an_error_and_changes_nothing(node: CniNodeRig) -> None:
    await node.assign(assigned("web"))
    container = node.container()
    await added(node, container)
    before = node.state(container)
    assert error_of(await node.call("ADD", container))["code"] == 102
    assert node.state(container) == before
    await done(node, "CHECK", container)


async def test_an_interface_of_somebody_else_is_not_touched(node: CniNodeRig) -> None:
    await node.assign(assigned("web"))
    container = node.container()
    with link_in(container, "eth0"):
        before = node.state(container)
        error = error_of(await node.call("ADD", container))
        assert error["code"] == 102
        assert error["msg"].startswith("CNI_IFNAME")
        await done(node, "DEL", container)
        assert node.state(container) == before


async def test_del_succeeds_whatever_is_left(node: CniNodeRig) -> None:
    await node.assign(assigned("web"))
    container = node.container()
    clean = node.state(container)
    await done(node, "DEL", container)
    result = await added(node, container)
    await done(node, "DEL", container, config=conf(prevResult=result))
    await done(node, "DEL", container)
    await done(node, "DEL", container, environment={"CNI_NETNS": "", "CNI_ARGS": None}, config=conf("0.4.0"))
    assert node.state(container) == clean
    await added(node, container)
    await done(node, "DEL", container, environment={"CNI_NETNS": ""}, config=conf(prevResult={}))
    assert node.state(container) == clean
    assert error_of(await node.call("ADD", container, config=conf(mtu=9000)))["code"] == 7
    await done(node, "DEL", container, config=conf(unknown="key", mtu="nonsense"))
    assert node.state(container) == clean


async def test_del_succeeds_when_namespace_or_device_went_before(node: CniNodeRig) -> None:
    await node.assign(assigned("web"), assigned("api", 6))
    container = node.container()
    clean = node.state(container)
    await added(node, container)
    ip("-n", container, "link", "del", "eth0")
    await done(node, "DEL", container)
    assert node.state(container) == clean
    await added(node, container)
    await done(node, "DEL", container, environment={"CNI_NETNS": "/run/netns/never-was"})
    assert node.state(container) == clean


async def test_check_passes_after_add_and_fails_after_each_loss(node: CniNodeRig) -> None:
    await node.assign(assigned("web"))
    container = node.container()
    losses: dict[str, tuple[str, ...]] = {
        "MTU": ("link", "set", "eth0", "mtu", "1300"),
        "down": ("link", "set", "eth0", "down"),
        "MAC": ("link", "set", "eth0", "address", "02:00:00:00:00:01"),
        "address 10.16.0.5/16": ("addr", "flush", "dev", "eth0"),
        "route 0.0.0.0/0": ("route", "del", "default"),
        "eth0 is gone": ("link", "del", "eth0"),
    }
    for says, words in losses.items():
        result = await added(node, container)
        await done(node, "CHECK", container, config=conf(prevResult=result))
        ip("-n", container, *words)
        error = error_of(await node.call("CHECK", container, config=conf(prevResult=result)))
        assert error["code"] in {101, 110}
        assert says in error["msg"] or "went with its container" in error["msg"], error
        await done(node, "DEL", container)


async def test_check_fails_while_the_switch_does_not_forward(node: CniNodeRig) -> None:
    await node.assign(assigned("web", bandwidth={"ingress_bps": 10_000_000}))
    container = node.container()
    result = await added(node, container)
    await done(node, "CHECK", container)
    node.ovs.kill("ovs-vswitchd")
    node.ovs.vsctl("--no-wait", "del-port", result["interfaces"][0]["name"])
    error = await until(node, "CHECK", container, fails=True)
    assert error_of(error)["code"] in {50, 51, 101, 110}
    node.ovs.start_vswitchd()
    await until(node, "CHECK", container, fails=False)


async def until(node: CniNodeRig, verb: str, container: str = "", *, fails: bool) -> Said:
    """The first answer that is a failure, or the first that is none."""
    async with asyncio.timeout(30):
        while bool((said := await node.call(verb, container)).status) is not fails:
            pass
    return said


async def test_check_fails_on_a_daemon_without_its_journal(node: CniNodeRig) -> None:
    await node.assign(assigned("web"))
    container = node.container()
    await added(node, container)
    node.kill()
    for left in node.folder.glob("journal.db*"):
        left.unlink()
    await node.start()
    assert error_of(await node.call("CHECK", container))["code"] == 101


async def test_gc_leaves_what_is_listed_and_ends_the_rest(node: CniNodeRig) -> None:
    await node.assign(assigned("web"), assigned("api", 6))
    web, api = node.container(), node.container()
    clean = node.state(web, api)
    await added(node, web)
    await added(node, api, pod="api")
    both = node.state(web, api)
    listed = [{"containerID": name, "ifname": "eth0"} for name in (web, api)]
    await done(node, "GC", config=valid(listed))
    await done(node, "GC", config=conf() | {"cni.dev/attachments": listed})
    await done(node, "GC", config=valid([]) | {"name": "another"})
    await done(node, "GC")
    assert node.state(web, api) == both
    await done(node, "GC", config=valid(listed[:1]))
    await done(node, "CHECK", web)
    assert error_of(await node.call("CHECK", api))["code"] == 101
    await done(node, "GC", config=valid([]))
    assert node.state(web, api) == clean


async def test_status_tells_a_switch_that_is_away(node: CniNodeRig) -> None:
    await done(node, "STATUS")
    node.ovs.kill("ovsdb-server")
    assert error_of(await until(node, "STATUS", fails=True))["code"] in {50, 51}


async def test_an_add_for_a_pod_that_nobody_assigned_waits_and_names_the_reason(executable: Path) -> None:
    async with cni_node(executable, wait_s=0.5) as node:
        container = node.container()
        clean = node.state(container)
        error = error_of(await node.call("ADD", container, pod="ghost"))
        assert "default/ghost" in error["msg"]
        assert node.state(container) == clean


async def test_an_add_for_which_nothing_is_left_waits_and_says_what_the_coordinator_said(executable: Path) -> None:
    async with cni_node(executable, wait_s=0.5) as node:
        why = pods_pb2.RefusedPod(
            pod_namespace="default", pod_name="web", message="subnet pods has no free address", remedy="widen it"
        )
        await node.refuse(why)
        container = node.container()
        clean = node.state(container)
        error = error_of(await node.call("ADD", container))
        assert error["code"] == 101
        assert error["msg"].endswith("in time: subnet pods has no free address")
        assert "widen it" in error["details"]
        assert node.state(container) == clean
        await node.refuse()
        assert "no free address" not in error_of(await node.call("ADD", container))["msg"]


async def test_an_add_that_comes_before_its_assignment_waits_for_it(node: CniNodeRig) -> None:
    adding = asyncio.create_task(node.call("ADD", node.container()))
    await asyncio.sleep(0.3)
    await node.assign(assigned("web"))
    assert (await adding).status == 0


async def test_a_runtime_that_gives_up_leaves_nothing(node: CniNodeRig) -> None:
    container = node.container()
    clean = node.state(container)
    said = await node.call("ADD", container, environment={"DPUPOOL_CNI_DEADLINE_S": "0.8"})
    assert error_of(said)["code"] in {11, 101, 105}
    await node.assign(assigned("web"))
    await done(node, "DEL", container)
    assert node.state(container) == clean
    await added(node, container)


async def test_a_stale_socket_is_taken_over_and_a_running_pod_is_untouched(node: CniNodeRig) -> None:
    await node.assign(assigned("web"))
    container = node.container()
    await added(node, container)
    before = node.state(container)
    node.kill()
    assert node.socket.is_socket()
    await node.start()
    assert node.socket.stat().st_mode & 0o777 == 0o600
    assert node.state(container) == before
    await done(node, "CHECK", container)


async def test_a_daemon_that_is_told_to_stop_takes_its_socket_and_no_pod_with_it(node: CniNodeRig) -> None:
    await node.assign(assigned("web"))
    container = node.container()
    await added(node, container)
    before = node.state(container)
    assert node.process is not None
    node.process.terminate()
    assert await asyncio.to_thread(node.process.wait, 30) == 0
    assert not node.socket.exists()
    assert error_of(await node.call("STATUS"))["code"] == 50
    await node.start()
    assert node.state(container) == before
    await done(node, "CHECK", container)


async def test_a_pod_recreated_under_its_name_is_another_pod(node: CniNodeRig) -> None:
    await node.assign(assigned("web"))
    old, new = node.container(), node.container()
    await added(node, old)
    await node.assign(assigned("web", pod_uid="uid-2", generation=2))
    await added(node, new, environment={"CNI_ARGS": pod_args("web", uid="uid-2")})
    await done(node, "DEL", old)
    await done(node, "DEL", old, environment={"CNI_NETNS": ""})
    await done(node, "CHECK", new)


@pytest.mark.timeout(900)
async def test_a_hundred_containers_are_added_and_removed_at_once(node: CniNodeRig) -> None:
    pods = [f"p{n}" for n in range(100)]
    await node.assign(*(assigned(pod, 300 + n) for n, pod in enumerate(pods)))
    containers = [node.container() for _ in pods]
    clean = node.state(*containers)
    said = await asyncio.gather(*(node.call("ADD", c, pod=p) for c, p in zip(containers, pods, strict=True)))
    assert [one.stdout for one in said if one.status] == []
    assert len({json.loads(one.stdout)["interfaces"][0]["name"] for one in said}) == 100
    await asyncio.gather(*(done(node, "CHECK", c, pod=p) for c, p in zip(containers, pods, strict=True)))
    await asyncio.gather(*(done(node, "DEL", c, pod=p) for c, p in zip(containers, pods, strict=True)))
    assert node.state(*containers) == clean


@pytest.mark.faults
@pytest.mark.timeout(900)
async def test_nothing_is_left_wherever_the_journal_is_cut(node: CniNodeRig) -> None:
    """kill -9 of the real daemon before each of its commits during ADD, then during DEL."""
    await node.assign(assigned("web"), assigned("api", 6))
    web, api = node.container(), node.container()
    await added(node, api, pod="api")
    clean = node.state(web, api)
    for verb in ("ADD", "DEL"):
        point = 0
        while True:
            point += 1
            if verb == "DEL":
                await added(node, web)
            give(node.folder / "kill-at", str(point))
            said = await node.call(verb, web)
            if said.status == 0:
                break
            await node.died()
            await node.start()
            await done(node, "DEL", web)
            await done(node, "CHECK", api, pod="api")
            assert node.state(web, api) == clean, f"{verb} cut before commit {point}"
        # Of an ADD the last write comes behind the answer, and may be cut as well.
        assert point > 2
        (node.folder / "kill-at").unlink(missing_ok=True)
        node.kill()
        await node.start()
        await done(node, "DEL", web)
        assert node.state(web, api) == clean
