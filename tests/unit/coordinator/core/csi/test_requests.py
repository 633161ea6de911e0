"""Requests for volumes: parameters, sources, topology, and repeats."""

from dataclasses import replace
from typing import Any

import pytest

from coordinator.core.csi.capabilities import AccessMode, AccessType, Capability, check_capabilities
from coordinator.core.csi.parameters import parse_parameters, refuse_parameters
from coordinator.core.csi.sizes import SizeRange
from coordinator.core.csi.sources import Origin, Source, SourceKind
from coordinator.core.csi.topology import POOL_KEY, Requirement, pools_of_volume, reaches
from coordinator.core.csi.volumes import (
    VolumeRequest,
    check_same_volume,
    choose_backend,
    parse_volume,
    volume_body,
)
from coordinator.core.objects.storage import Volume
from proto.errors import DpuError
from proto.reasons import Reason

GIB = 1 << 30
WRITER = Capability(mode=AccessMode.SINGLE_NODE_WRITER, type=AccessType.MOUNT, fs_type="ext4")
SIMPLE = VolumeRequest(name="pvc-1", size=SizeRange(GIB), capabilities=[WRITER])


def made(request: VolumeRequest, size_bytes: int = GIB) -> Volume:
    body = volume_body(parse_volume(request), "ns", "file", size_bytes)
    return Volume.parse(body | {"status": {"handle": "h", "sizeBytes": size_bytes}})


def refused(call: Any, *args: Any) -> DpuError:
    with pytest.raises(DpuError) as caught:
        call(*args)
    assert caught.value.field
    assert caught.value.remedy
    return caught.value


def test_a_request_becomes_an_object_that_says_all_of_it() -> None:
    request = replace(
        SIMPLE,
        parameters={
            "image": "tiny",
            "protocol": "nvme",
            "deletionPolicy": "Shred",
            "encryptionSecret": "key",
            "backend/replicas": "3",
            "csi.storage.k8s.io/pvc/name": "data",
        },
        mutable={"iops": "100"},
    )
    body = volume_body(parse_volume(request), "ns", "fast", GIB)
    assert body["spec"] == {
        "size": GIB,
        "backend": "fast",
        "deletionPolicy": "Shred",
        "source": {"imageRef": {"name": "tiny"}},
        "qos": {"iops": 100},
        "encryption": {"secretRef": {"name": "key"}},
        "parameters": {"replicas": "3"},
    }
    notes = body["metadata"]["annotations"]
    assert notes["csi.dpupool.io/name"] == "pvc-1"
    assert notes["csi.dpupool.io/protocol"] == "nvme"
    assert notes["csi.storage.k8s.io/pvc/name"] == "data"


def test_a_repeat_finds_its_volume() -> None:
    check_same_volume(parse_volume(SIMPLE), made(SIMPLE))
    grown = replace(SIMPLE, size=SizeRange(GIB // 2, 2 * GIB))
    check_same_volume(parse_volume(grown), made(SIMPLE))


def test_what_the_sidecars_add_is_no_difference() -> None:
    again = replace(SIMPLE, parameters={"csi.storage.k8s.io/pv/name": "pv"})
    check_same_volume(parse_volume(again), made(SIMPLE))


@pytest.mark.parametrize(
    "change",
    [
        {"size": SizeRange(2 * GIB)},
        {"size": SizeRange(0, GIB // 2)},
        {"parameters": {"deletionPolicy": "Retain"}},
        {"mutable": {"iops": "5"}},
        {"content": Source(SourceKind.SNAPSHOT, "s")},
    ],
)
def test_another_request_under_the_same_name_is_refused(change: dict[str, Any]) -> None:
    error = refused(check_same_volume, parse_volume(replace(SIMPLE, **change)), made(SIMPLE))
    assert error.reason is Reason.ALREADY_EXISTS


def test_an_object_that_somebody_made_by_hand_is_not_taken_for_ours() -> None:
    foreign = Volume.parse({"metadata": {"name": "pvc-1"}, "spec": {"size": "1Gi"}})
    assert refused(check_same_volume, parse_volume(SIMPLE), foreign).reason is Reason.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("deletionPolicy", "delete"),
        ("protocol", "scsi"),
        ("image", "Not A Name"),
        ("backend", "a/b"),
        ("fstype", "ext4"),
        ("encryptionSecret", ""),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_key(key: str, value: str) -> None:
    error = refused(parse_parameters, {key: value})
    assert (error.reason, error.field) == (Reason.INVALID, f"parameters[{key}]")


def test_snapshots_have_no_parameters() -> None:
    refuse_parameters({"csi.storage.k8s.io/volumesnapshot/name": "x"})
    assert refused(refuse_parameters, {"fast": "yes"}).reason is Reason.INVALID


def test_an_image_beside_a_content_source_is_refused() -> None:
    both = replace(SIMPLE, parameters={"image": "tiny"}, content=Source(SourceKind.VOLUME, "v"))
    assert refused(parse_volume, both).reason is Reason.INVALID


def test_a_content_source_without_an_id_is_refused() -> None:
    error = refused(parse_volume, replace(SIMPLE, content=Source(SourceKind.SNAPSHOT, "")))
    assert error.field == "volume_content_source.snapshot.snapshot_id"


def test_a_clone_is_made_where_its_source_is() -> None:
    wish = parse_volume(replace(SIMPLE, content=Source(SourceKind.VOLUME, "v")))
    assert choose_backend(wish, Origin(GIB, "fast"), "file") == "fast"
    assert choose_backend(parse_volume(SIMPLE), Origin(), "file") == "file"
    named = parse_volume(replace(SIMPLE, parameters={"backend": "slow"}))
    assert choose_backend(named, Origin(), "file") == "slow"
    assert refused(choose_backend, named, Origin(GIB, "fast"), "file").reason is Reason.INVALID


@pytest.mark.parametrize("mode", list(AccessMode))
def test_each_access_mode_is_either_supported_or_refused_with_those_that_are(mode: AccessMode) -> None:
    asked = [Capability(mode=mode, type=AccessType.BLOCK)]
    if mode in {AccessMode.UNKNOWN, AccessMode.MULTI_NODE_MULTI_WRITER, AccessMode.MULTI_NODE_SINGLE_WRITER}:
        error = refused(check_capabilities, asked)
        assert error.field == "volume_capabilities[0].access_mode"
        assert "SINGLE_NODE_WRITER" in error.remedy
    else:
        check_capabilities(asked)


@pytest.mark.parametrize("system", ["", "ext4", "xfs", "XFS"])
def test_file_systems_that_there_are(system: str) -> None:
    check_capabilities([replace(WRITER, fs_type=system)])


@pytest.mark.parametrize(
    "asked", [[], [replace(WRITER, type=AccessType.NONE)], [WRITER, replace(WRITER, fs_type="ntfs")]]
)
def test_capabilities_that_make_no_sense_are_refused(asked: list[Capability]) -> None:
    assert refused(check_capabilities, asked).reason is Reason.INVALID


def test_a_backend_that_all_reach_meets_every_topology() -> None:
    assert pools_of_volume((), Requirement([{POOL_KEY: "a"}])) == []
    assert reaches((), {})


def test_a_backend_of_some_pools_is_used_from_these_alone() -> None:
    assert pools_of_volume(("b", "a"), Requirement([{POOL_KEY: "a"}])) == ["a", "b"]
    assert pools_of_volume(("a",), Requirement()) == ["a"]
    error = refused(pools_of_volume, ("a",), Requirement([{POOL_KEY: "z"}, {"zone": "a"}]))
    assert error.reason is Reason.EXHAUSTED
    assert not reaches(("a",), {})
