"""Who may have a volume, and what a node is told; snapshots and groups."""

import pytest

from coordinator.core.csi.capabilities import AccessMode, AccessType, Capability
from coordinator.core.csi.publishing import (
    PublishWish,
    attachment_body,
    find_own,
    publish_context,
    published_nodes,
)
from coordinator.core.csi.snapshots import check_members, parse_group, parse_snapshot
from coordinator.core.objects.meta import Json
from coordinator.core.objects.storage import Attachment, Snapshot, Volume
from proto.errors import DpuError
from proto.reasons import Reason

VOLUME = Volume.parse(
    {
        "metadata": {"name": "v", "namespace": "ns", "annotations": {"csi.dpupool.io/protocol": "nvme"}},
        "spec": {"size": "1Gi"},
    }
)


def wish(
    node: str = "a", mode: AccessMode = AccessMode.SINGLE_NODE_WRITER, *, readonly: bool = False, block: bool = False
) -> PublishWish:
    kind = AccessType.BLOCK if block else AccessType.MOUNT
    return PublishWish(volume_id="v", node_id=node, capability=Capability(mode=mode, type=kind), readonly=readonly)


def attached(made_for: PublishWish, *, deleting: bool = False, **status: object) -> Attachment:
    body = attachment_body(made_for, VOLUME)
    if deleting:
        body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return Attachment.parse(body | {"status": status})


READERS = AccessMode.MULTI_NODE_READER_ONLY


def test_an_attachment_says_how_the_volume_is_used_and_may_be_forced() -> None:
    body = attachment_body(wish(), VOLUME)
    assert body["spec"] == {
        "volumeRef": {"name": "v"}, "hostRef": {"name": "a"}, "readOnly": False, "protocol": "nvme"
    }  # fmt: skip
    assert "dpupool.io/force-detach" in body["metadata"]["annotations"]
    assert attachment_body(wish("b"), VOLUME)["metadata"]["name"] != body["metadata"]["name"]


def test_a_repeat_finds_its_attachment_and_a_free_volume_has_none() -> None:
    own = attached(wish())
    assert find_own(wish(), [own]) is own
    assert find_own(wish(), []) is None


@pytest.mark.parametrize(
    "other",
    [wish(readonly=True), wish(block=True), wish(mode=AccessMode.SINGLE_NODE_SINGLE_WRITER), wish(mode=READERS)],
)
def test_another_use_on_the_same_node_is_refused(other: PublishWish) -> None:
    with pytest.raises(DpuError, match="published to node a as") as refused:
        find_own(other, [attached(wish())])
    assert refused.value.reason is Reason.ALREADY_EXISTS


def test_another_node_that_has_it_is_named() -> None:
    with pytest.raises(DpuError, match="published to node b") as refused:
        find_own(wish("a"), [attached(wish("b"))])
    assert refused.value.reason is Reason.IN_USE


def test_readers_on_many_nodes_share_a_volume_but_no_writer_joins() -> None:
    there = [attached(wish("b", READERS)), attached(wish("c", READERS))]
    assert find_own(wish("a", READERS), there) is None
    with pytest.raises(DpuError):
        find_own(wish("a"), there)
    with pytest.raises(DpuError):
        find_own(wish("a", AccessMode.SINGLE_NODE_READER_ONLY), there)
    with pytest.raises(DpuError):
        find_own(wish("a", READERS), [attached(wish("b"))])


def test_what_is_on_its_way_out_bars_nobody() -> None:
    assert find_own(wish("a"), [attached(wish("b"), deleting=True)]) is None
    leaving = attached(wish("a", readonly=True), deleting=True)
    assert find_own(wish("a"), [leaving]) is leaving


def test_the_node_is_told_the_disks_identity_and_nothing_of_the_storage() -> None:
    status: Json = {
        "serial": "s", "nguid": "n", "protocol": "nvme", "pciAddress": "0000:03:00.0", "slot": 0, "sizeBytes": 5,
    }  # fmt: skip
    assert publish_context(attached(wish(), **status)) == {
        "dpupool.io/serial": "s",
        "dpupool.io/nguid": "n",
        "dpupool.io/protocol": "nvme",
        "dpupool.io/pci-address": "0000:03:00.0",
        "dpupool.io/slot": "0",
        "dpupool.io/size-bytes": "5",
    }
    assert "dpupool.io/slot" not in publish_context(attached(wish()))


def test_nodes_are_published_from_the_fence_on() -> None:
    found = [attached(wish("b"), generation=2), attached(wish("a"), generation=2), attached(wish("c"))]
    assert published_nodes(found) == ["a", "b"]


@pytest.mark.parametrize(("volume", "node"), [("", "a"), ("v", ""), ("v", "n" * 257)])
def test_a_publish_without_its_ids_is_refused(volume: str, node: str) -> None:
    asked = PublishWish(volume_id=volume, node_id=node, capability=wish().capability, readonly=False)
    with pytest.raises(DpuError) as refused:
        asked.check()
    assert refused.value.reason is Reason.INVALID


def member(name: str) -> Snapshot:
    spec = {"volumeRef": {"name": "v"}, "groupId": "g", "groupSize": 2}
    return Snapshot.parse({"metadata": {"name": name}, "spec": spec})


def test_a_snapshot_alone_and_a_group_of_one_are_two_things() -> None:
    alone, group = parse_snapshot("s", "v", {}), parse_group("s", ["v"], {})
    (one,), (grouped,) = alone.bodies("ns"), group.bodies("ns")
    assert one["spec"] == {"volumeRef": {"name": "v"}}
    assert grouped["spec"] == {"volumeRef": {"name": "v"}, "groupId": "s", "groupSize": 1}
    assert one["metadata"]["name"] != grouped["metadata"]["name"]
    assert alone.fingerprint != group.fingerprint


def test_the_order_of_a_groups_volumes_is_no_difference() -> None:
    assert parse_group("g", ["b", "a"], {}) == parse_group("g", ["a", "b"], {})


@pytest.mark.parametrize("volumes", [[], ["a", "a"], [""], [str(number) for number in range(65)]])
def test_a_group_that_cannot_be_is_refused(volumes: list[str]) -> None:
    with pytest.raises(DpuError) as refused:
        parse_group("g", volumes, {})
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "source_volume_ids")


def test_named_snapshots_must_be_the_groups() -> None:
    both = [member("x"), member("y")]
    check_members("g", both, [], whole=True)
    check_members("g", both, ["y", "x"], whole=True)
    for named in (["x"], ["x", "y", "z"], ["z"]):
        with pytest.raises(DpuError):
            check_members("g", both, named, whole=True)


def test_a_delete_that_was_interrupted_may_be_repeated_with_all_names() -> None:
    check_members("g", [member("y")], ["x", "y"], whole=False)
    with pytest.raises(DpuError):
        check_members("g", [member("y"), member("q")], ["x", "y"], whole=False)
