"""Nodes have ports of their own; in virtual time."""

from collections.abc import Awaitable, Callable
from typing import Any

from coordinator.core.net.assignment import NODE_LABEL
from coordinator.core.net.node_port import HELD
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from tests.fakes.fleet import FleetApi
from tests.fakes.pod_nodes import PodNodes
from tests.fakes.virtual import VirtualLoop, in_virtual_time

SYSTEM = "dpupool-system"


def play(story: Callable[[PodNodes], Awaitable[None]], nodes: int = 1, **subnet: Any) -> None:
    """Play a story with a running coordinator."""

    async def whole(loop: VirtualLoop) -> None:
        stage = PodNodes(loop, own_ports=True)
        await stage.stock(nodes, gateway="10.16.0.1", **subnet)
        async with stage.coordinator():
            await story(stage)
        assert not stage.twice

    in_virtual_time(whole)


async def given(stage: PodNodes, node: str = "node-1", network: str = "pods") -> Json:
    """Wait until a node has its port, and its daemon knows it."""

    def there() -> bool:
        found = stage.ports_of(f"node-{node}")
        states = [(one["spec"]["networkRef"]["name"], one.get("status", {}).get("phase")) for one in found]
        return states == [(network, "Assigned")]

    await stage.wait(f"{node} has its port in {network}", there)
    return stage.ports_of(f"node-{node}")[0]


async def gone(stage: PodNodes, what: str) -> None:
    await stage.wait(what, lambda: not stage.leaks())


def finalizers(stage: PodNodes) -> list[str]:
    return list(stage.api.of(Kind.NETWORK_NODE)["node-1"]["metadata"].get("finalizers") or ())


def test_a_node_has_a_port_of_the_default_network_without_a_gateway_and_with_routes_to_its_other_subnets() -> None:
    async def story(stage: PodNodes) -> None:
        port = await given(stage)
        uid = stage.api.of(Kind.NETWORK_NODE)["node-1"]["metadata"]["uid"]
        assert port["metadata"]["namespace"] == SYSTEM
        assert port["metadata"]["labels"] == {NODE_LABEL: "node-1"}
        assert [owner["kind"] for owner in port["metadata"]["ownerReferences"]] == ["NetworkNode"]
        assert port["spec"]["podRef"] == {"name": "node-node-1", "uid": uid}
        assert port["spec"]["addresses"] == [{"cidr": "10.16.0.2/16"}]
        assert port["spec"]["interface"] == "dpupool0"
        (told,) = stage.daemons["node-1"].told.values()
        assert (told.pod_namespace, told.pod_name, told.node) == (SYSTEM, "node-node-1", "node-1")
        assert (told.default_network, told.mtu, told.routes) == (True, 1400, ())
        assert not told.addresses[0].gateway
        assert SYSTEM in stage.api.of(Foreign.NAMESPACE)
        spec = {"networkRef": {"name": "pods"}, "cidr": "10.17.0.0/16", "gateway": "10.17.0.1", "namespaces": ["shop"]}
        await stage.make(Kind.SUBNET, "pods-b", spec)
        await stage.wait("it has a route", lambda: routes(stage) == [("10.17.0.0/16", "10.16.0.1")])
        await FleetApi.delete(stage.api, Kind.SUBNET, "pods-b")
        await stage.wait("the route goes", lambda: routes(stage) == [])

    play(story, routes=[{"dst": "192.0.2.0/24", "via": "10.16.0.9"}])


def routes(stage: PodNodes) -> list[tuple[str, str]]:
    return [(one.dst, one.via) for told in stage.daemons["node-1"].told.values() for one in told.routes]


def test_a_pod_and_a_node_never_have_one_address() -> None:
    async def story(stage: PodNodes) -> None:
        port = await given(stage)
        await stage.pod("twin", "node-1", {"dpupool.io/addresses": "10.16.0.2"})
        await stage.wait("it is refused", lambda: any("10.16.0.2" in one for one in stage.events("PortRefused")))
        assert port["spec"]["addresses"][0]["cidr"] == "10.16.0.2/16"

    play(story)


def test_a_networknode_that_is_deleted_waits_for_its_port() -> None:
    async def story(stage: PodNodes) -> None:
        port = await given(stage)
        assert finalizers(stage) == [HELD]
        stage.daemons["node-1"].add("node", port["spec"]["podRef"]["uid"])
        await stage.api.delete(Kind.NETWORK_NODE, "node-1")
        await stage.wait("it is taken back", lambda: not stage.daemons["node-1"].told)
        assert stage.ports_of("node-node-1")
        assert "node-1" in stage.api.of(Kind.NETWORK_NODE)
        stage.daemons["node-1"].remove("node")
        await gone(stage, "nothing is left")
        await stage.wait("it is gone", lambda: "node-1" not in stage.api.of(Kind.NETWORK_NODE))

    play(story)


def test_a_networknode_whose_daemon_is_away_is_let_go() -> None:
    async def story(stage: PodNodes) -> None:
        await given(stage)
        stage.daemons["node-1"].dead = True
        await stage.api.delete(Kind.NETWORK_NODE, "node-1")
        await stage.wait("it is gone", lambda: "node-1" not in stage.api.of(Kind.NETWORK_NODE), 120.0)
        assert not stage.ports()
        stage.twice.clear()  # a daemon that is away keeps what it knew: who deleted the node has said that it is off

    play(story)


def test_a_node_that_wants_no_port_gives_it_back_and_has_one_again() -> None:
    async def story(stage: PodNodes) -> None:
        await given(stage)
        await stage.api.patch(Kind.NETWORK_NODE, "node-1", {"spec": {"nodePort": False}})
        await gone(stage, "it is given back")
        await stage.wait("nothing holds the node", lambda: finalizers(stage) == [])
        await stage.api.patch(Kind.NETWORK_NODE, "node-1", {"spec": {"nodePort": None}})
        await given(stage)

    play(story)


def test_the_port_follows_the_default_network() -> None:
    async def story(stage: PodNodes) -> None:
        await given(stage)
        await stage.make(Kind.NETWORK, "new", {"mtu": 1400})
        await stage.make(Kind.SUBNET, "new-a", {"networkRef": {"name": "new"}, "cidr": "10.18.0.0/16"})
        await stage.api.patch(Kind.NETWORK, "pods", {"spec": {"default": None}})
        await gone(stage, "it is given back")
        await stage.api.patch(Kind.NETWORK, "new", {"spec": {"default": True}})
        await given(stage, network="new")

    play(story)


def test_without_room_the_node_is_told_and_served_later() -> None:
    async def story(stage: PodNodes) -> None:
        await given(stage)
        await stage.node("node-2")
        await stage.wait("it is told", lambda: stage.events("NodePortRefused"))
        await stage.api.delete(Kind.NETWORK_NODE, "node-1")
        await given(stage, "node-2")

    play(story, cidr="10.16.0.0/29", reserved=["10.16.0.3-10.16.0.5"])


def test_a_port_that_somebody_deletes_comes_back_when_its_daemon_has_given_it_back() -> None:
    async def story(stage: PodNodes) -> None:
        port = await given(stage)
        await stage.api.delete(Kind.PORT, port["metadata"]["name"], SYSTEM)
        await stage.api.patch(Kind.NETWORK_NODE, "node-1", {"spec": {"nodePort": False}})
        await gone(stage, "it goes with the wish for it")

    play(story)


def test_a_new_coordinator_finds_the_ports_and_keeps_them() -> None:
    async def whole(loop: VirtualLoop) -> None:
        stage = PodNodes(loop, own_ports=True)
        await stage.stock(2)
        before: list[Json] = []
        for _ in range(2):
            async with stage.coordinator():
                found = [await given(stage, f"node-{index}") for index in (1, 2)]
                before = before or found
                assert [one["metadata"]["uid"] for one in found] == [one["metadata"]["uid"] for one in before]
        assert not stage.twice

    in_virtual_time(whole)
