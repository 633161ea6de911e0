"""Ports that somebody deletes by hand under a pod; in virtual time."""

import asyncio
import json
from typing import Any

import pytest

from coordinator.core.net.pods import GIVEN, GROUPS, INGRESS
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from tests.fakes.pod_nodes import SPACE, PodNodes
from tests.fakes.virtual import VirtualLoop, in_virtual_time
from tests.unit.coordinator.controllers.net.test_pods import annotate, given, play, refused


def _annotation(stage: PodNodes, pod: str) -> Any:
    return json.loads(stage.api.of(Foreign.POD)[pod]["metadata"]["annotations"].get(GIVEN) or "[]")


def test_a_port_that_somebody_deletes_is_told_of_for_as_long_as_its_pod_has_it() -> None:
    async def story(stage: PodNodes) -> None:
        await stage.pod("web", "node-1")
        (port,) = await given(stage, "web")
        await stage.wait("it is told", lambda: _annotation(stage, "web"))
        await stage.api.delete(Kind.PORT, port["metadata"]["name"], SPACE)
        await stage.wait(
            "it says why it stays", lambda: any("pod web is there" in one for one in stage.events("DeletionWaits"))
        )
        await annotate(stage, "web", **{INGRESS: "20M"})  # any change of the pod has it looked at
        await asyncio.sleep(10)
        assert [one["addresses"] for one in _annotation(stage, "web")] == [["10.16.0.1/16"]]
        assert len(stage.events("DeletionWaits")) == 1

    play(story)


def test_a_port_that_somebody_deleted_follows_the_annotations_of_its_pod_and_waits_for_nothing() -> None:
    async def story(stage: PodNodes) -> None:
        await stage.pod("web", "node-1", {GROUPS: "wide"})
        (port,) = await given(stage, "web")
        await stage.api.delete(Kind.PORT, port["metadata"]["name"], SPACE)
        await stage.wait("it says why it stays", lambda: stage.events("DeletionWaits"))
        await annotate(stage, "web", **{GROUPS: "narrow", INGRESS: "20M"})
        await stage.wait(
            "the groups hold", lambda: stage.ports_of("web")[0]["spec"].get("securityGroups") == ["narrow"]
        )
        await stage.wait(
            "the daemon limits it",
            lambda: next(iter(stage.daemons["node-1"].told.values())).bandwidth.ingress_bps == 2e7,
        )
        assert stage.network is not None
        assert not stage.network.pods.waiting

    play(story)


def test_a_port_that_is_taken_away_under_a_pod_comes_back_as_its_container_has_it() -> None:
    async def story(stage: PodNodes) -> None:
        pod = await stage.pod("web", "node-1")
        (port,) = await given(stage, "web")
        stage.daemons["node-1"].add("c1", pod["metadata"]["uid"])
        await stage.wait("it is told", lambda: _annotation(stage, "web"))
        await _take_away(stage, port)
        await stage.wait("it is there again", lambda: stage.ports_of("web"))
        (again,) = stage.ports_of("web")
        assert again["metadata"]["uid"] != port["metadata"]["uid"]
        assert [again["spec"][name] for name in ("addresses", "mac")] == [
            port["spec"][name] for name in ("addresses", "mac")
        ]
        await stage.wait("it forwards", lambda: stage.ports_of("web")[0].get("status", {}).get("phase") == "Ready")
        stage.twice.clear()  # the container had it all the time

    play(story)


@pytest.mark.parametrize("kubelet", [True, False], ids=["a new coordinator", "the same coordinator"])
def test_a_port_is_made_again_as_it_was_whatever_its_subnet_gives_by_now(kubelet: bool) -> None:
    changed = {"cidrV6": "fd00:16::/64", "reserved": ["10.16.0.1-10.16.0.9"], "namespaces": ["elsewhere"]}

    async def story(loop: VirtualLoop) -> None:
        stage = PodNodes(loop)
        await stage.stock(1)
        async with stage.coordinator():
            await stage.pod("web", "node-1")
            (port,) = await given(stage, "web")
            await stage.wait("it is told", lambda: _annotation(stage, "web"))
            await stage.api.patch(Kind.SUBNET, "pods-a", {"spec": changed})
            if not kubelet:
                await _again_as(stage, port)
        if kubelet:
            status = {"status": {"podIPs": [{"ip": "10.16.0.1"}]}}
            await stage.api.patch_status(Foreign.POD, "web", status, SPACE)  # type: ignore[arg-type]
            await _take_away(stage, port)
            async with stage.coordinator():
                await _again_as(stage, port, taken=True)

    in_virtual_time(story)


def test_what_an_annotation_says_without_a_witness_is_given_by_the_rules_for_everybody() -> None:
    async def story(loop: VirtualLoop) -> None:
        stage = PodNodes(loop)
        await stage.stock(1, reserved=["10.16.0.1-10.16.0.9"])
        pod = await stage.pod("web", "node-1")
        name = f"web-eth0-{pod['metadata']['uid'][:8]}"
        entry = {"name": name, "subnet": "pods-a", "addresses": ["10.16.0.5/16"], "mac": "02:00:00:00:00:05"}
        await annotate(stage, "web", **{GIVEN: json.dumps([entry])})
        async with stage.coordinator():
            await refused(stage, "10.16.0.5 is reserved")
            assert not stage.ports_of("web")

    in_virtual_time(story)


async def _again_as(stage: PodNodes, port: Json, *, taken: bool = False) -> None:
    """The Port comes again as it was."""
    if not taken:
        await _take_away(stage, port)
    await stage.wait("it is there again", lambda: stage.ports_of("web"))
    (again,) = stage.ports_of("web")
    assert again["metadata"]["uid"] != port["metadata"]["uid"]
    assert again["spec"]["addresses"] == port["spec"]["addresses"]
    assert again["spec"]["mac"] == port["spec"]["mac"]


def test_a_port_whose_address_went_to_another_is_not_made_again_also_not_by_the_next_coordinator() -> None:
    async def story(loop: VirtualLoop) -> None:
        stage = PodNodes(loop)
        await stage.stock(1)
        async with stage.coordinator():
            pod = await stage.pod("web", "node-1")
            (port,) = await given(stage, "web")
            stage.daemons["node-1"].add("c1", pod["metadata"]["uid"])
            await stage.wait("it is told", lambda: _annotation(stage, "web"))
            stage.api.hushed = asyncio.Event()
            await _take_away(stage, port)
            thief = port["spec"] | {"podRef": {"name": "thief", "uid": "none"}}
            await stage.make(Kind.PORT, "thief", thief, finalizers=["a/b"])
            stage.api.hushed.set()
            await refused(stage, "was taken away, and cannot be made again as the container has it")
            await refused(stage, "delete the pod: the one that comes after it")
            await stage.wait("it is told as lost", lambda: _annotation(stage, "web")[0].get("lost"))
            await asyncio.sleep(200)
            assert not stage.ports_of("web")
        async with stage.coordinator():
            await asyncio.sleep(200)
            assert not stage.ports_of("web")
            assert [one["addresses"] for one in _annotation(stage, "web")] == [["10.16.0.1/16"]]
            await _take_away(stage, stage.ports()["thief"])
            await stage.wait("it is there again", lambda: stage.ports_of("web"))
            await stage.wait("it forwards", lambda: stage.ports_of("web")[0].get("status", {}).get("phase") == "Ready")
            assert stage.ports_of("web")[0]["spec"]["mac"] == port["spec"]["mac"]
            await stage.wait("it is told", lambda: "lost" not in _annotation(stage, "web")[0])

    in_virtual_time(story)


async def _take_away(stage: PodNodes, port: Json) -> None:
    """Delete a Port by hand, and its finalizer with it."""
    name = port["metadata"]["name"]
    await stage.api.patch(Kind.PORT, name, {"metadata": {"finalizers": None}}, SPACE)
    await stage.api.delete(Kind.PORT, name, SPACE)
