"""Nodes' daemons: told ahead and in batches, each by itself; what is on a node that is away, fenced or replaced."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from tests.fakes.plant import condition
from tests.fakes.pod_nodes import SPACE, PodNodes
from tests.fakes.virtual import VirtualLoop, in_virtual_time


def play(story: Callable[[PodNodes], Awaitable[None]], nodes: int = 2) -> None:
    async def whole(loop: VirtualLoop) -> None:
        stage = PodNodes(loop)
        await stage.stock(nodes)
        async with stage.coordinator():
            await story(stage)

    in_virtual_time(whole)


def node(stage: PodNodes, name: str = "node-1") -> Json:
    return stage.api.of(Kind.NETWORK_NODE)[name]


async def ready(stage: PodNodes, reason: str, name: str = "node-1", within_s: float = 60.0) -> Json:
    await stage.wait(reason, lambda: condition(node(stage, name)).get("reason") == reason, within_s)
    return node(stage, name)


async def assigned(stage: PodNodes, *pods: str) -> None:
    def all_are() -> bool:
        ports: list[Any] = [port for pod in pods for port in stage.ports_of(pod)]
        return len(ports) == len(pods) and all(one.get("status", {}).get("phase") == "Assigned" for one in ports)

    await stage.wait("ports are assigned", all_are)


def test_a_node_says_that_its_daemon_serves_and_how_many_ports_it_has() -> None:
    async def story(stage: PodNodes) -> None:
        await ready(stage, "Serving")
        await stage.pod("web", "node-1")
        await stage.wait("it is counted", lambda: node(stage)["status"].get("ports") == 1)
        stage.daemons["node-1"].dead = True
        await stage.pod("more", "node-1")
        found = await ready(stage, "Unavailable")
        assert "node-1 does not answer" in condition(found)["message"]
        stage.daemons["node-1"].dead = False
        await ready(stage, "Serving")
        await assigned(stage, "web", "more")

    play(story)


def test_a_dead_daemon_delays_nobody_else() -> None:
    async def story(stage: PodNodes) -> None:
        stage.daemons["node-1"].dead = True
        stage.daemons["node-1"].slow_s = 30.0
        began = stage.loop.time()
        for index in range(20):
            await stage.pod(f"dead-{index}", "node-1")
            await stage.pod(f"live-{index}", "node-2")
        await stage.wait("the other node is told", lambda: len(stage.daemons["node-2"].told) == 20)
        assert stage.loop.time() - began < 1.0
        await stage.wait(
            "who waits says why",
            lambda: "does not answer" in stage.ports_of("dead-0")[0].get("status", {}).get("message", ""),
            120.0,
        )

    play(story)


def test_what_queues_while_a_daemon_answers_goes_in_one_call() -> None:
    async def story(stage: PodNodes) -> None:
        await ready(stage, "Serving")
        daemon = stage.daemons["node-1"]
        daemon.slow_s = 1.0
        for index in range(100):
            await stage.pod(f"web-{index}", "node-1")
        await stage.wait("all are told", lambda: len(daemon.told) == 100)
        sizes = [size for call, size in daemon.calls if call == "put"]
        assert sum(sizes) >= 100
        assert len(sizes) <= 4

    play(story)


def test_what_a_daemon_has_and_nobody_wants_is_taken_back_at_contact() -> None:
    async def whole(loop: VirtualLoop) -> None:
        stage = PodNodes(loop)
        await stage.stock(1)
        async with stage.coordinator():
            await stage.pod("web", "node-1")
            await assigned(stage, "web")
        daemon = stage.daemons["node-1"]
        (name,) = stage.ports()
        port = stage.api.objects.pop((Kind.PORT, SPACE, name))  # as from a backup that is older
        stage.api.of(Kind.PORT).clear()
        assert port["metadata"]["name"] == name
        await stage.api.delete(Foreign.POD, "web", SPACE)
        stage.api._by_kind.clear()
        for place, found in stage.api.objects.items():
            stage.api._by_kind.setdefault(place[0], {})[place] = found
        async with stage.coordinator():
            await stage.wait("it is taken back", lambda: not daemon.told)

    in_virtual_time(whole)


def test_a_daemon_that_forgot_everything_is_told_again() -> None:
    async def story(stage: PodNodes) -> None:
        await stage.pod("web", "node-1")
        await assigned(stage, "web")
        stage.daemons["node-1"].told.clear()
        await stage.wait("it is told", lambda: stage.daemons["node-1"].told, 120.0)

    play(story)


def test_a_daemon_that_knows_a_later_port_of_the_name_gets_a_later_generation() -> None:
    async def story(stage: PodNodes) -> None:
        daemon = stage.daemons["node-1"]
        daemon.dead = True
        await stage.pod("web", "node-1")
        await stage.wait("the port is there", lambda: stage.ports_of("web"))
        (port,) = stage.ports_of("web")
        fence = (port["spec"]["epoch"] + 5000) << 20
        daemon._fences[f"{SPACE}.{port['metadata']['name']}"] = (fence, True)
        daemon.dead = False
        await stage.wait("it is told", lambda: daemon.told, 120.0)
        assert next(iter(daemon.told.values())).generation > fence

    play(story)


def test_ports_of_a_node_that_is_off_wait_until_somebody_says_so() -> None:
    async def story(stage: PodNodes) -> None:
        pod = await stage.pod("web", "node-1")
        await assigned(stage, "web")
        stage.daemons["node-1"].add("c1", pod["metadata"]["uid"])
        stage.daemons["node-1"].dead = True
        await asyncio.sleep(60.0)
        await stage.delete_pod("web")
        await asyncio.sleep(60.0)
        (port,) = stage.ports_of("web")
        assert "out-of-service" in port["status"]["message"]
        taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
        await stage.api.patch(Foreign.NODE, "node-1", {"spec": {"taints": [taint]}})
        await stage.wait("it goes", lambda: not stage.ports())

    play(story)


def test_a_container_that_outlives_its_pod_keeps_its_address_from_others() -> None:
    async def story(stage: PodNodes) -> None:
        pod = await stage.pod("web", "node-1", {"dpupool.io/addresses": "10.16.0.77"})
        await assigned(stage, "web")
        stage.daemons["node-1"].add("c1", pod["metadata"]["uid"])
        await stage.delete_pod("web")
        await stage.pod("next", "node-2", {"dpupool.io/addresses": "10.16.0.77"})
        await asyncio.sleep(120.0)
        assert not stage.ports_of("next")
        assert "container c1 still holds it" in stage.ports_of("web")[0]["status"]["message"]
        stage.daemons["node-1"].remove("c1")
        await assigned(stage, "next")
        assert not stage.twice

    play(story)


def test_of_two_network_nodes_for_one_node_the_second_is_told_to_go() -> None:
    async def story(stage: PodNodes) -> None:
        stage.daemons["zweit"] = stage.daemons["node-2"]
        await stage.make(Kind.NETWORK_NODE, "zweit", {"nodeName": "node-1", "address": "127.0.0.1:7443"})
        found = await ready(stage, "Doubled", "zweit")
        assert "NetworkNode node-1" in condition(found)["message"]
        await stage.pod("web", "node-1")
        await assigned(stage, "web")
        assert stage.daemons["node-1"].told
        assert not stage.daemons["node-2"].told

    play(story)


def test_of_a_server_that_shows_no_nodes_at_all_nobody_believes_that_one_is_off() -> None:
    async def story(stage: PodNodes) -> None:
        pod = await stage.pod("web", "node-1")
        await assigned(stage, "web")
        stage.daemons["node-1"].add("c1", pod["metadata"]["uid"])
        stage.daemons["node-1"].dead = True
        assert stage.network is not None
        stage.network._context.mirrors._mirrors[Foreign.NODE]._nothing()
        stage.api.hidden = frozenset({Foreign.NODE})
        await asyncio.sleep(60.0)
        await stage.delete_pod("web")
        await asyncio.sleep(60.0)
        assert stage.ports_of("web")
        assert not stage.twice

    play(story)


def test_a_coordinator_that_does_not_know_a_ports_subnet_leaves_with_its_daemon_what_that_has() -> None:
    async def whole(loop: VirtualLoop) -> None:
        stage = PodNodes(loop)
        await stage.stock(1)
        async with stage.coordinator():
            await stage.pod("web", "node-1")
            await assigned(stage, "web")
        daemon = stage.daemons["node-1"]
        (told,) = daemon.told.values()
        await stage.api.delete(Kind.SUBNET, "pods-a")  # by somebody who took its finalizers away
        async with stage.coordinator():
            await asyncio.sleep(60.0)
            assert list(daemon.told.values()) == [told]
            assert "subnet pods-a or network pods does not exist" in stage.ports_of("web")[0]["status"]["message"]
            await stage.delete_pod("web")
            await stage.wait("it is taken back", lambda: not daemon.told and not stage.ports())
        assert not stage.twice

    in_virtual_time(whole)
