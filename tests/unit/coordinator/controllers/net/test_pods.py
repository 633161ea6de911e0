"""Pods get the ports that they ask for, or are told why not; in virtual time."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from coordinator.core.net.attachments import NETWORKS
from coordinator.core.net.pods import ADDRESSES, EGRESS, GIVEN, GROUPS, INGRESS, MAC, POOL, SUBNET, WHY
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from dpu_daemon.service.pods_wire import FASTEST_BPS
from tests.fakes.pod_nodes import SPACE, PodNodes
from tests.fakes.virtual import VirtualLoop, in_virtual_time

Story = Callable[[PodNodes], Awaitable[None]]


def play(story: Story, nodes: int = 2, **subnet: Any) -> None:
    """Play a story with a running coordinator."""

    async def whole(loop: VirtualLoop) -> None:
        stage = PodNodes(loop)
        await stage.stock(nodes, **subnet)
        async with stage.coordinator():
            await story(stage)
        assert not stage.twice

    in_virtual_time(whole)


async def given(stage: PodNodes, pod: str, count: int = 1) -> list[Json]:
    """Wait until a pod has its ports, and its node knows them."""

    def there() -> bool:
        ports = stage.ports_of(pod)
        return len(ports) == count and all(one.get("status", {}).get("phase") == "Assigned" for one in ports)

    await stage.wait(f"{pod} has {count} ports", there)
    return stage.ports_of(pod)


async def refused(stage: PodNodes, words: str) -> None:
    """Wait until an event of a pod says so."""
    await stage.wait(words, lambda: any(words in message for message in stage.events("PortRefused")))


def reasons(stage: PodNodes, node: str) -> list[str]:
    """Why pods of a node get no port, as its daemon was told last."""
    return [one.message for one in stage.daemons[node].refused.get(node, ())]


async def define(stage: PodNodes, name: str, network: str = "side", **fields: str) -> None:
    config = {"cniVersion": "1.0.0", "name": name, "type": "dpu-cni", "network": network} | fields
    await stage.make(Foreign.ATTACHMENT_DEFINITION, name, {"config": json.dumps(config)})


async def add_side(stage: PodNodes) -> None:
    await stage.make(Kind.NETWORK, "side", {"mtu": 9000, "bridge": "br-side", "vlan": 7})
    await stage.make(Kind.SUBNET, "side-a", {"networkRef": {"name": "side"}, "cidr": "10.99.0.0/24"})
    await define(stage, "side")


async def annotate(stage: PodNodes, pod: str, **annotations: str | None) -> None:
    named = {key.replace("__", "/").replace("_", "-"): value for key, value in annotations.items()}
    await stage.api.patch(Foreign.POD, pod, {"metadata": {"annotations": named}}, SPACE)


def test_a_bound_pod_gets_an_address_that_its_node_and_itself_are_told() -> None:
    async def story(stage: PodNodes) -> None:
        pod = await stage.pod("web", "node-1")
        (port,) = await given(stage, "web")
        assert port["spec"]["addresses"] == [{"cidr": "10.16.0.2/16", "gateway": "10.16.0.1"}]
        assert port["metadata"]["name"] == f"web-eth0-{pod['metadata']['uid'][:8]}"
        assert port["metadata"]["finalizers"] == ["dpupool.io/port"]
        assert "open and of the default network pods" in port["metadata"]["annotations"][WHY]
        (told,) = stage.daemons["node-1"].told.values()
        assert (told.pod_uid, told.mac, told.mtu) == (pod["metadata"]["uid"], port["spec"]["mac"], 1400)
        assert told.default_network
        assert not stage.daemons["node-2"].told
        await stage.wait("it is told", lambda: stage.api.of(Foreign.POD)["web"]["metadata"]["annotations"].get(GIVEN))
        annotation = json.loads(stage.api.of(Foreign.POD)["web"]["metadata"]["annotations"][GIVEN])
        assert annotation[0]["addresses"] == ["10.16.0.2/16"]
        assert stage.daemons["node-1"].add("c1", pod["metadata"]["uid"])
        await stage.wait("it is ready", lambda: stage.ports_of("web")[0]["status"]["phase"] == "Ready")
        assert stage.ports_of("web")[0]["status"]["representor"] == "dp0"

    play(story, gateway="10.16.0.1")


def test_a_static_pod_is_known_to_its_daemon_as_to_its_runtime() -> None:
    async def story(stage: PodNodes) -> None:
        await stage.pod("proxy-node-1", "node-1", {"kubernetes.io/config.mirror": "0123abcd"})
        await given(stage, "proxy-node-1")
        (told,) = stage.daemons["node-1"].told.values()
        assert told.pod_uid == "0123abcd"

    play(story)


def test_pods_of_the_host_network_unbound_pods_and_pods_that_are_over_get_none() -> None:
    async def story(stage: PodNodes) -> None:
        await stage.pod("host", "node-1", hostNetwork=True)
        await stage.pod("unbound", "")
        await stage.pod("web", "node-1")
        await given(stage, "web")
        await stage.over("web", "Failed")
        await stage.wait("it is released", lambda: not stage.leaks())
        assert not stage.events("PortRefused")

    play(story)


def test_where_no_network_is_the_default_one_pods_are_somebody_elses() -> None:
    async def story(stage: PodNodes) -> None:
        await stage.api.patch(Kind.NETWORK, "pods", {"spec": {"default": None}})
        await stage.pod("web", "node-1")
        await stage.pod("named", "node-1", {SUBNET: "pods-a"})
        await given(stage, "named")
        assert not stage.ports_of("web")
        assert not stage.events()
        await stage.api.patch(Kind.NETWORK, "pods", {"spec": {"default": True}})
        await given(stage, "web")

    play(story)


def test_addresses_macs_pools_and_groups_are_had_by_annotation() -> None:
    async def story(stage: PodNodes) -> None:
        wishes = {ADDRESSES: "10.16.9.9, fd00:16::9", MAC: "0A:58:0A:10:00:09", GROUPS: "db, web"}
        await stage.pod("fixed", "node-1", wishes)
        (port,) = await given(stage, "fixed")
        assert [one["cidr"] for one in port["spec"]["addresses"]] == ["10.16.9.9/16", "fd00:16::9/64"]
        assert port["spec"]["mac"] == "0a:58:0a:10:00:09"
        assert port["spec"]["securityGroups"] == ["db", "web"]
        await stage.pod("pooled", "node-1", {POOL: "vip"})
        (pooled,) = await given(stage, "pooled")
        assert pooled["spec"]["addresses"][0]["cidr"] == "10.16.200.1/16"
        await stage.pod("twin", "node-1", {ADDRESSES: "10.16.9.9"})
        await refused(stage, "10.16.9.9 of subnet pods-a belongs to pod default/fixed")
        await stage.delete_pod("fixed")
        await given(stage, "twin")

    play(story, cidrV6="fd00:16::/64", pools=[{"name": "vip", "ranges": ["10.16.200.1-10.16.200.9"]}])


def test_a_full_subnet_is_told_and_served_as_soon_as_somebody_goes() -> None:
    async def story(stage: PodNodes) -> None:
        for index in range(3):
            await stage.pod(f"web-{index}", "node-1")
        await stage.wait("two have theirs", lambda: len(stage.ports()) == 2)
        await refused(stage, "subnet pods-a has no free address")
        await stage.wait("the node is told, for the ADD that waits", lambda: reasons(stage, "node-1"))
        (told,) = stage.daemons["node-1"].refused["node-1"]
        assert not stage.ports_of(told.pod_name)
        assert "subnet pods-a has no free address" in told.message
        assert told.remedy
        winner = next(iter(stage.ports().values()))["spec"]["podRef"]["name"]
        await stage.delete_pod(winner)
        await stage.wait(
            "the third has one", lambda: sum(bool(stage.ports_of(f"web-{index}")) for index in range(3)) == 2
        )
        await stage.wait("nobody is refused any more", lambda: not reasons(stage, "node-1"))

    play(story, cidr="10.16.0.0/29", reserved=["10.16.0.3-10.16.0.5"])


def test_a_daemon_that_comes_back_is_told_again_who_gets_no_port_and_nothing_of_pods_that_went() -> None:
    async def story(stage: PodNodes) -> None:
        daemon = stage.daemons["node-1"]
        await stage.pod("first", "node-2")
        await given(stage, "first")
        await stage.pod("web", "node-1")
        await stage.pod("api", "node-1")
        await stage.wait("both are refused", lambda: len(reasons(stage, "node-1")) == 2)
        daemon.dead = True
        daemon.refused.clear()
        await stage.delete_pod("api")
        await asyncio.sleep(60)
        assert not daemon.refused
        daemon.dead = False
        await stage.wait("one is refused", lambda: len(reasons(stage, "node-1")) == 1)
        assert [one.pod_name for one in daemon.refused["node-1"]] == ["web"]
        assert not reasons(stage, "node-2")
        await stage.delete_pod("web")
        await stage.wait("none is", lambda: not reasons(stage, "node-1"))

    play(story, cidr="10.16.0.0/30")


def test_a_port_waits_for_its_node_and_says_what_is_missing() -> None:
    async def story(stage: PodNodes) -> None:
        await stage.pod("web", "node-9")
        await stage.wait("it has an address", lambda: stage.ports_of("web"))
        await stage.wait(
            "it tells", lambda: "has no NetworkNode" in stage.ports_of("web")[0].get("status", {}).get("message", "")
        )
        assert stage.ports_of("web")[0]["status"]["phase"] == "Allocated"
        await stage.node("node-9")
        await given(stage, "web")

    play(story)


def test_a_port_that_forwards_does_so_while_its_daemon_is_not_found() -> None:
    async def story(stage: PodNodes) -> None:
        pod, daemon = await stage.pod("web", "node-1"), stage.daemons["node-1"]
        await given(stage, "web")
        await stage.wait("the daemon has it", lambda: daemon.told)
        daemon.add("c1", pod["metadata"]["uid"])

        def status() -> Json:
            found: Json = stage.ports_of("web")[0].get("status", {})
            return found

        await stage.wait("it forwards", lambda: status().get("phase") == "Ready")
        daemon.dead = True
        await stage.api.patch(Kind.NETWORK_NODE, "node-1", {"spec": {"address": "127.0.0.1:7444"}})
        await stage.wait("it tells", lambda: "node-1 does not answer" in status()["message"], within_s=120)
        assert status()["phase"] == "Ready"
        assert [one["status"] for one in status()["conditions"] if one["type"] == "Ready"] == ["Unknown"]
        daemon.dead = False
        await stage.wait("it is known again", lambda: status()["conditions"][0]["status"] == "True")

    play(story)


def test_definitions_of_other_plug_ins_are_left_alone_and_missing_ones_are_told() -> None:
    async def story(stage: PodNodes) -> None:
        await stage.make(Foreign.ATTACHMENT_DEFINITION, "macvlan", {"config": '{"type": "macvlan"}'})
        await stage.make(Foreign.ATTACHMENT_DEFINITION, "broken", {"config": "{"})
        await stage.make(Foreign.ATTACHMENT_DEFINITION, "vague", {"config": '{"plugins": [{"type": "dpu-cni"}]}'})
        await stage.pod("web", "node-1", {NETWORKS: "macvlan, later, broken, vague, other/there"})
        await refused(stage, "there is no NetworkAttachmentDefinition default/later")
        await refused(stage, "NetworkAttachmentDefinition default/broken: spec.config is no JSON")
        await refused(stage, "NetworkAttachmentDefinition default/vague: spec.config names no network")
        await given(stage, "web")
        await add_side(stage)
        await define(stage, "later")
        await given(stage, "web", 2)

    play(story)


def test_bandwidth_follows_the_annotation_with_a_new_generation() -> None:
    async def story(stage: PodNodes) -> None:
        await stage.pod("web", "node-1", {INGRESS: "10M", EGRESS: "2500k"})
        (port,) = await given(stage, "web")
        assert port["spec"]["bandwidth"] == {"ingressBps": 10_000_000, "egressBps": 2_500_000}
        before = next(iter(stage.daemons["node-1"].told.values()))
        await annotate(stage, "web", **{INGRESS: "20M", EGRESS: None})
        await stage.wait(
            "the daemon has it", lambda: next(iter(stage.daemons["node-1"].told.values())).bandwidth.ingress_bps == 2e7
        )
        after = next(iter(stage.daemons["node-1"].told.values()))
        assert after.generation > before.generation
        assert after.bandwidth.egress_bps == 0
        await stage.pod("odd", "node-1", {INGRESS: "fast"})
        await refused(stage, "metadata.annotations[kubernetes.io/ingress-bandwidth]")
        await stage.pod("fast", "node-1", {INGRESS: f"{FASTEST_BPS + 1}"})
        await refused(stage, "is not between 1k and 10T")

    play(story)


def test_what_a_subnet_says_to_its_pods_reaches_daemons_when_it_changes() -> None:
    async def story(stage: PodNodes) -> None:
        await stage.pod("web", "node-1")
        await given(stage, "web")
        await stage.api.patch(Kind.SUBNET, "pods-a", {"spec": {"dns": ["10.16.0.53"]}})
        await stage.wait(
            "the daemon has it", lambda: next(iter(stage.daemons["node-1"].told.values())).dns == ("10.16.0.53",)
        )

    play(story)


def test_routes_and_name_servers_that_are_none_are_told_to_nobody() -> None:
    async def story(stage: PodNodes) -> None:
        wrong = [{"dst": "foo", "via": "bar"}, {"dst": "10.0.0.0/8", "via": "fd00::1"}]
        right = {"dst": "10.8.0.0/16", "via": "10.16.0.9"}
        await stage.api.patch(Kind.SUBNET, "pods-a", {"spec": {"routes": [*wrong, right]}})
        await stage.pod("web", "node-1", {"dpupool.io/addresses": "10.16.0.77"})
        await refused(stage, "spec.routes[0].dst")
        await stage.api.patch(Kind.SUBNET, "pods-a", {"spec": {"dns": [], "routes": [right]}})
        await given(stage, "web")
        await stage.api.patch(Kind.SUBNET, "pods-a", {"spec": {"dns": ["x", "10.16.0.54"], "routes": [*wrong, right]}})
        told = stage.daemons["node-1"].told
        await stage.wait(
            "the daemon has what is right of it", lambda: [one.dns for one in told.values()] == [("10.16.0.54",)]
        )
        assert [(each.dst, each.via) for one in told.values() for each in one.routes] == [("10.8.0.0/16", "10.16.0.9")]

    play(story)


def test_a_port_that_its_daemon_will_not_have_holds_up_no_other() -> None:
    async def story(stage: PodNodes) -> None:
        daemon = stage.daemons["node-1"]
        daemon.refuses.add("bad")
        for name in ("a", "bad", "b", "c"):
            await stage.pod(name, "node-1")
        await stage.wait("the others are there", lambda: {one.pod_name for one in daemon.told.values()} == {*"abc"})

        def says() -> str:
            return str([one.get("status", {}).get("message") for one in stage.ports_of("bad")])

        await stage.wait("its port says why", lambda: "will not have it: assignments[0]: it is none" in says())
        asked = len(daemon.calls)
        await stage.delete_pod("bad")
        await stage.wait("it went", lambda: not stage.ports_of("bad"))
        assert len(daemon.calls) - asked < 20
        daemon.refuses.clear()
        await stage.pod("bad", "node-1")
        await stage.wait("a new one is there", lambda: len(daemon.told) == 4)

    play(story)


def test_a_port_that_somebody_deletes_stays_until_its_pod_goes() -> None:
    async def story(stage: PodNodes) -> None:
        await stage.pod("web", "node-1")
        (port,) = await given(stage, "web")
        await stage.api.delete(Kind.PORT, port["metadata"]["name"], SPACE)
        await stage.pod("other", "node-1")
        await given(stage, "other")
        assert len(stage.daemons["node-1"].told) == 2
        await stage.delete_pod("web")
        await stage.wait("it goes", lambda: not stage.ports_of("web"))

    play(story)


def test_a_pod_made_anew_under_its_name_gets_a_port_of_its_own() -> None:
    async def story(stage: PodNodes) -> None:
        first = await stage.pod("db-0", "node-1")
        await given(stage, "db-0")
        stage.daemons["node-1"].add("c1", first["metadata"]["uid"])
        await stage.delete_pod("db-0")
        second = await stage.pod("db-0", "node-2")
        await stage.wait("both are there", lambda: len(stage.ports_of("db-0")) == 2)
        stage.daemons["node-1"].remove("c1")
        await stage.wait("the old one goes", lambda: len(stage.ports_of("db-0")) == 1)
        assert stage.ports_of("db-0")[0]["spec"]["podRef"]["uid"] == second["metadata"]["uid"]

    play(story)


def test_an_answer_that_was_lost_frees_no_address_before_its_port_is_known() -> None:
    async def story(stage: PodNodes) -> None:
        stage.api.lost, stage.api.hushed = 1.0, asyncio.Event()
        await stage.pod("web", "node-1", {ADDRESSES: "10.16.0.9"})
        await stage.wait("it is written", lambda: stage.ports_of("web"))
        await stage.pod("twin", "node-1", {ADDRESSES: "10.16.0.9"})
        await refused(stage, "10.16.0.9 of subnet pods-a belongs to pod default/web")
        stage.api.lost = 0.0
        stage.api.hushed.set()
        await given(stage, "web")
        assert not stage.ports_of("twin")

    play(story)


def test_of_two_ports_with_one_address_the_younger_says_so() -> None:
    async def story(stage: PodNodes) -> None:
        await stage.pod("web", "node-1")
        (port,) = await given(stage, "web")
        copy = port["spec"] | {"podRef": {"name": "copy", "uid": "none"}, "epoch": port["spec"]["epoch"] + 1}
        pod = await stage.pod("copy", "node-2", hostNetwork=False)
        copy["podRef"]["uid"] = pod["metadata"]["uid"]
        await stage.make(Kind.PORT, f"copy-eth0-{pod['metadata']['uid'][:8]}", copy | {"node": "node-2"})
        await stage.wait(
            "it says so", lambda: any("belongs to pod default/web as well" in said for said in said_by(stage))
        )
        stage.twice.clear()

    def said_by(stage: PodNodes) -> list[str]:
        return [one.get("status", {}).get("message", "") for one in stage.ports().values()]

    play(story)
