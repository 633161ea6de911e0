from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from coordinator.controllers.context import Caches
from coordinator.controllers.storage_metrics import StorageMetrics

NOW = datetime(2026, 1, 1, 12, 1, 40, tzinfo=UTC)


@pytest.fixture
def caches() -> Caches:
    return Caches()


def registry(caches: Caches) -> CollectorRegistry:
    found = CollectorRegistry()
    found.register(StorageMetrics(caches, {"file", "fast"}, lambda: NOW))
    return found


def thing(kind: str, name: str, spec: dict[str, Any], **status: Any) -> dict[str, Any]:
    metadata = {
        "name": name, "namespace": "default", "uid": name, "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T12:00:00Z",
    }  # fmt: skip
    return {"kind": kind, "metadata": metadata, "spec": spec, "status": status}


def ready(status: str) -> list[dict[str, str]]:
    at = "2026-01-01T12:01:00Z"
    return [{"type": "Ready", "status": status, "reason": "R", "message": "m", "lastTransitionTime": at}]


def test_volumes_are_counted_by_phase_and_backend(caches: Caches) -> None:
    for name, phase, backend in (("a", "Bound", "file"), ("b", "Bound", "file"), ("c", "Failed", "fast")):
        condition = {"abnormal": name == "a"}
        spec = {"size": "1Gi", "backend": backend}
        caches.volumes.absorb(
            thing("Volume", name, spec, phase=phase, sizeBytes=10, allocatedBytes=4, condition=condition)
        )
    found = registry(caches)
    assert found.get_sample_value("dpupool_volumes", {"phase": "Bound", "backend": "file"}) == 2
    assert found.get_sample_value("dpupool_volumes", {"phase": "Failed", "backend": "fast"}) == 1
    assert found.get_sample_value("dpupool_volume_bytes", {"backend": "file"}) == 20
    assert found.get_sample_value("dpupool_volume_allocated_bytes", {"backend": "file"}) == 8
    assert found.get_sample_value("dpupool_volumes_abnormal", {"backend": "file"}) == 1


def test_names_that_people_invent_never_become_labels(caches: Caches) -> None:
    for number in range(50):
        caches.volumes.absorb(thing("Volume", f"v{number}", {"size": "1Gi", "backend": f"made-up-{number}"}))
    family = next(one for one in registry(caches).collect() if one.name == "dpupool_volumes")
    assert [sample.labels["backend"] for sample in family.samples] == ["other"]


def test_snapshots_and_attachments_are_counted_by_state(caches: Caches) -> None:
    spec = {"volumeRef": {"name": "a"}}
    caches.snapshots.absorb(thing("Snapshot", "s", spec, phase="Ready", backend="file"))
    caches.snapshots.absorb(thing("Snapshot", "t", spec))
    caches.attachments.absorb(thing("VolumeAttachment", "a", spec | {"hostRef": {"name": "h"}}, phase="Degraded"))
    found = registry(caches)
    assert found.get_sample_value("dpupool_snapshots", {"phase": "Ready", "backend": "file"}) == 1
    assert found.get_sample_value("dpupool_snapshots", {"phase": "Pending", "backend": "none"}) == 1
    assert found.get_sample_value("dpupool_attachments", {"phase": "Degraded"}) == 1


def test_the_oldest_wait_counts_from_the_last_change_or_from_the_beginning(caches: Caches) -> None:
    caches.volumes.absorb(thing("Volume", "whole", {"size": "1Gi"}, conditions=ready("True")))
    name, label = "dpupool_storage_unready_oldest_seconds", {"kind": "volume"}
    assert registry(caches).get_sample_value(name, label) == 0
    caches.volumes.absorb(thing("Volume", "ill", {"size": "1Gi"}, conditions=ready("False")))
    assert registry(caches).get_sample_value(name, label) == 40
    caches.volumes.absorb(thing("Volume", "new", {"size": "1Gi"}))
    assert registry(caches).get_sample_value(name, label) == 100
