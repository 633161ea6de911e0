"""What a volume can be made from."""

from typing import Any

import pytest

from coordinator.core.objects.storage import Volume
from coordinator.core.storage.source import Origins, SourceKind, find_source
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.core.storage.things import MIB, image, snapshot, volume


def refused(new: Volume, origins: Origins, size_bytes: int = 64 * MIB) -> DpuError:
    with pytest.raises(DpuError) as told:
        find_source(new, size_bytes, origins)
    assert told.value.field.startswith("spec.")
    assert told.value.remedy
    return told.value


def of_volume(name: str) -> dict[str, Any]:
    return {"source": {"volumeRef": {"name": name}}}


def of_snapshot(name: str) -> dict[str, Any]:
    return {"source": {"snapshotRef": {"name": name}}}


def test_a_volume_without_a_source_is_blank() -> None:
    assert find_source(volume(made=False), MIB, Origins()) is None


def test_each_kind_of_source_is_found_by_its_handle() -> None:
    origins = Origins(
        images={"i": image()}, snapshots={"s": snapshot(cut=True)}, volumes={"old": volume("old"), "v": volume()}
    )
    handles = {
        SourceKind.IMAGE: ({"source": {"imageRef": {"name": "i"}}}, "uid-i"),
        SourceKind.SNAPSHOT: (of_snapshot("s"), "h-s"),
        SourceKind.VOLUME: (of_volume("old"), "h-old"),
    }
    for kind, (spec, handle) in handles.items():
        found = find_source(volume("new", made=False, **spec), 64 * MIB, origins)
        assert found is not None
        assert found.source is not None
        assert (found.source.kind, found.source.handle) == (kind, handle)


def test_two_sources_are_one_too_many() -> None:
    new = volume("new", made=False, source={"imageRef": {"name": "i"}, "volumeRef": {"name": "v"}})
    error = refused(new, Origins())
    assert error.message == "a volume has one source, not imageRef and volumeRef"


@pytest.mark.parametrize("spec", [of_volume("none"), of_snapshot("none"), {"source": {"imageRef": {"name": "none"}}}])
def test_a_source_that_is_not_there_is_named(spec: dict[str, Any]) -> None:
    error = refused(volume("new", made=False, **spec), Origins())
    assert error.reason is Reason.NOT_FOUND
    assert error.message.endswith("none does not exist")
    assert error.field.endswith("Ref.name")


@pytest.mark.parametrize("spec", [of_volume("old"), of_snapshot("s")])
def test_a_source_that_is_not_ready_is_waited_for(spec: dict[str, Any]) -> None:
    new = volume("new", made=False, **spec)
    origins = Origins(snapshots={"s": snapshot(of="old")}, volumes={"old": volume("old", made=False), "new": new})
    found = find_source(new, 64 * MIB, origins)
    assert found is not None
    assert found.source is None
    assert "yet" in found.why


@pytest.mark.parametrize("spec", [of_volume("old"), of_snapshot("s")])
def test_a_clone_is_as_large_as_its_source_at_least(spec: dict[str, Any]) -> None:
    origins = Origins(snapshots={"s": snapshot(cut=True)}, volumes={"old": volume("old")})
    error = refused(volume("new", made=False, **spec), origins, 32 * MIB)
    assert error.field == "spec.size"
    assert error.remedy == "write at least 64Mi"


@pytest.mark.parametrize("spec", [of_volume("old"), of_snapshot("s"), {"source": {"imageRef": {"name": "i"}}}])
def test_a_clone_is_made_where_its_source_is(spec: dict[str, Any]) -> None:
    origins = Origins(images={"i": image()}, snapshots={"s": snapshot(cut=True)}, volumes={"old": volume("old")})
    error = refused(volume("new", made=False, backend="fast", **spec), origins)
    assert (error.field, error.remedy) == ("spec.backend", "write file")


def test_a_clone_has_the_key_of_its_source() -> None:
    locked = volume("old", encryption={"secretRef": {"name": "k"}})
    error = refused(volume("new", made=False, **of_volume("old")), Origins(volumes={"old": locked}))
    assert error.remedy == "write spec.encryption.secretRef.name: k"
    other = volume("new", made=False, encryption={"secretRef": {"name": "k"}}, **of_volume("clear"))
    assert refused(other, Origins(volumes={"clear": volume("clear")})).remedy == "leave spec.encryption out"


def test_a_source_on_its_way_out_is_refused_unless_its_bytes_are_there() -> None:
    leaving = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    new = volume("new", made=False, **of_volume("old"))
    error = refused(new, Origins(volumes={"old": volume("old", made=False, meta=leaving), "new": new}))
    assert error.reason is Reason.WRONG_STATE
    found = find_source(new, 64 * MIB, Origins(volumes={"old": volume("old", meta=leaving), "new": new}))
    assert found is not None
    assert found.source is not None
    gone = volume("new", made=False, **of_snapshot("s"))
    assert refused(gone, Origins(snapshots={"s": snapshot(cut=True, meta=leaving)})).reason is Reason.WRONG_STATE


def test_a_volume_that_waits_for_itself_is_told_so() -> None:
    new = volume("new", made=False, **of_volume("new"))
    error = refused(new, Origins(volumes={"new": new}))
    assert error.message == "each of these volumes waits for the next: new -> new"


def test_a_circle_of_volumes_and_snapshots_is_told_as_one() -> None:
    first = volume("a", made=False, **of_snapshot("s"))
    second = volume("b", made=False, **of_volume("a"))
    origins = Origins(volumes={"a": first, "b": second}, snapshots={"s": snapshot(of="b")})
    assert refused(first, origins).message.endswith("a -> b -> a")
    assert refused(second, origins).reason is Reason.INVALID


def test_who_waits_for_a_circle_without_being_in_it_waits() -> None:
    first, second = volume("a", made=False, **of_volume("b")), volume("b", made=False, **of_volume("a"))
    outside = volume("c", made=False, **of_volume("a"))
    origins = Origins(volumes={"a": first, "b": second, "c": outside})
    assert "waits for the next" in refused(outside, origins).message
