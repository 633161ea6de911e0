"""The controllers' client library against the API."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from lightkube import AsyncClient, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.models.core_v1 import ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event, Node, Secret
from lightkube.types import CascadeType, PatchType

from tests.contract.api.cluster import Cluster

Widget = create_namespaced_resource("conformance.dpupool.io", "v1", "Widget", "widgets")


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[AsyncClient]:
    config = KubeConfig.from_file(cluster.kubeconfig)
    found = AsyncClient(config, namespace=cluster.namespace, field_manager="tester", trust_env=False)
    yield found
    await found.close()


def document(found: Any) -> dict[str, Any]:
    """A library's object as the document that it stands for."""
    told: dict[str, Any] = found.to_dict()
    return told


def widget(name: str, **spec: object) -> GenericNamespacedResource:
    return Widget(metadata=ObjectMeta(name=name), spec={"color": "red"} | spec)


async def test_every_verb_of_a_controller_works(client: AsyncClient) -> None:
    made = await client.create(widget("one"))
    assert made.spec == {"color": "red", "replicas": 1}
    made.spec["replicas"] = 2
    replaced = await client.replace(made)
    assert document(replaced)["metadata"]["generation"] == 2
    merged = await client.patch(Widget, "one", {"spec": {"color": "blue"}}, patch_type=PatchType.MERGE)
    assert merged.spec["color"] == "blue"
    status = {"status": {"message": "seen"}}
    reported = await client.patch(Widget.Status, "one", status, patch_type=PatchType.MERGE)
    assert document(reported)["status"] == {"message": "seen"}
    applied = await client.apply(widget("two"), field_manager="applier")
    assert document(applied)["metadata"]["managedFields"][0]["manager"] == "applier"
    names = [document(found)["metadata"]["name"] async for found in client.list(Widget)]
    assert names == ["one", "two"]
    await client.delete(Widget, "one", cascade=CascadeType.FOREGROUND)
    await client.deletecollection(Widget)
    assert [found async for found in client.list(Widget)] == []


async def test_errors_carry_the_status(client: AsyncClient) -> None:
    with pytest.raises(ApiError) as missing:
        await client.get(Widget, "nope")
    assert missing.value.status.code == 404
    await client.create(widget("one"))
    with pytest.raises(ApiError) as taken:
        await client.create(widget("one"))
    assert taken.value.status.reason == "AlreadyExists"
    with pytest.raises(ApiError) as wrong:
        await client.create(widget("two", color="pink"))
    assert document(wrong.value.status)["details"]["causes"][0]["field"] == "spec.color"


async def test_a_watch_delivers_in_order(client: AsyncClient) -> None:
    seen: list[tuple[str, int]] = []
    begun = asyncio.Event()

    async def follow() -> None:
        async for change, found in client.watch(Widget):
            seen.append((change, found.spec["replicas"]))
            begun.set()
            if change == "DELETED":
                return

    await client.create(widget("one", replicas=0))
    follower = asyncio.create_task(follow())
    async with asyncio.timeout(30):
        await begun.wait()
    for replicas in range(1, 9):
        await client.patch(Widget, "one", {"spec": {"replicas": replicas}}, patch_type=PatchType.MERGE)
    await client.delete(Widget, "one")
    await asyncio.wait_for(follower, 30)
    replicas_seen = [replicas for _, replicas in seen]
    assert seen[-1] == ("DELETED", 8)
    assert replicas_seen == sorted(replicas_seen)


async def test_plain_kinds_go_through_their_models(client: AsyncClient, cluster: Cluster) -> None:
    secret = await client.create(Secret(metadata=ObjectMeta(name="s"), stringData={"a": "b"}))
    assert secret.data == {"a": "Yg=="}
    involved = ObjectReference(kind="Widget", name="one", namespace=cluster.namespace)
    metadata = ObjectMeta(generateName="e-", namespace=cluster.namespace)
    await client.create(Event(metadata=metadata, involvedObject=involved, reason="Tested", type="Normal"))
    found = [each async for each in client.list(Event, fields={"involvedObject.name": "one"})]
    assert len(found) == 1
    name = f"node-{cluster.namespace}"
    await client.create(Node(metadata=ObjectMeta(name=name)))
    patched = await client.patch(Node, name, {"spec": {"unschedulable": True}})
    assert patched.spec is not None
    assert patched.spec.unschedulable
    await client.delete(Node, name)
