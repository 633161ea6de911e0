"""Ports of further networks come and go with the annotation of a running pod; in virtual time."""

import asyncio
import json

from coordinator.core.net.attachments import NETWORKS
from coordinator.core.net.pods import GIVEN
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json
from tests.fakes.pod_nodes import SPACE, PodNodes
from tests.unit.coordinator.controllers.net.test_pods import add_side, annotate, given, play


def test_further_networks_are_plugged_and_unplugged_while_the_pod_runs() -> None:
    async def story(stage: PodNodes) -> None:
        await add_side(stage)
        pod = await stage.pod("vm", "node-1")
        (own,) = await given(stage, "vm")
        element = {"name": "side", "interface": "net1", "ips": ["10.99.0.7/24"], "mac": "02:00:00:00:00:07"}
        await annotate(stage, "vm", **{NETWORKS: json.dumps([element])})
        ports = {one["spec"].get("attachment", ""): one for one in await given(stage, "vm", 2)}
        side = ports["default/side"]["spec"]
        assert (side["interface"], side["mac"]) == ("net1", "02:00:00:00:00:07")
        assert side["addresses"][0]["cidr"] == "10.99.0.7/24"
        told = stage.daemons["node-1"].told[f"{SPACE}.{ports['default/side']['metadata']['name']}"]
        assert (told.bridge, told.vlan, told.mtu, told.default_network) == ("br-side", 7, 9000, False)
        stage.daemons["node-1"].add("c1", pod["metadata"]["uid"])
        await annotate(stage, "vm", **{NETWORKS: None})
        await stage.wait("its daemon takes it back", lambda: len(stage.daemons["node-1"].told) == 1)
        assert len(stage.ports_of("vm")) == 2  # a container has it still
        stage.daemons["node-1"].held = {
            port_id: held for port_id, held in stage.daemons["node-1"].held.items() if "net1" not in port_id
        }
        await stage.wait("it is gone", lambda: len(stage.ports_of("vm")) == 1)
        await annotate(stage, "vm", **{NETWORKS: "side@net1"})
        again = [one for one in await given_again(stage, "vm") if one["spec"].get("attachment")]
        assert stage.daemons["node-1"].told[f"{SPACE}.{again[0]['metadata']['name']}"]
        assert own["metadata"]["uid"] in {one["metadata"]["uid"] for one in stage.ports_of("vm")}

    play(story)


def test_a_port_that_is_asked_for_again_while_it_goes_goes_first_and_comes_anew() -> None:
    async def story(stage: PodNodes) -> None:
        def told() -> list[str]:
            annotation = stage.api.of(Foreign.POD)["vm"]["metadata"]["annotations"].get(GIVEN)
            return [one.get("interface", "") for one in json.loads(annotation or "[]")]

        await add_side(stage)
        pod = await stage.pod("vm", "node-1", {NETWORKS: "side@net1"})
        before = [one for one in await given(stage, "vm", 2) if one["spec"].get("attachment")]
        daemon = stage.daemons["node-1"]
        daemon.add("c1", pod["metadata"]["uid"])
        await stage.wait("both are told", lambda: told() == ["", "net1"])
        await annotate(stage, "vm", **{NETWORKS: None})
        await stage.wait("its daemon takes it back", lambda: len(daemon.told) == 1)
        await annotate(stage, "vm", **{NETWORKS: "side@net1"})
        await asyncio.sleep(30)
        assert (len(stage.ports_of("vm")), told(), stage.events("DeletionWaits")) == (2, [""], [])
        daemon.held = {port_id: held for port_id, held in daemon.held.items() if "net1" not in port_id}
        await stage.wait("it is there anew", lambda: len(daemon.told) == 2)
        after = [one for one in await given_again(stage, "vm") if one["spec"].get("attachment")]
        assert after[0]["metadata"]["uid"] != before[0]["metadata"]["uid"]
        await stage.wait("both are told again", lambda: told() == ["", "net1"])

    play(story)


async def given_again(stage: PodNodes, pod: str) -> list[Json]:
    await stage.wait("both are there", lambda: len(stage.ports_of(pod)) == 2 and len(stage.daemons["node-1"].told) == 2)
    return stage.ports_of(pod)
