"""Volumes, snapshots and images for tests of decisions."""

from typing import Any

from coordinator.core.objects.storage import Image, Snapshot, Volume

MIB = 1 << 20
NOW = "2026-01-01T00:00:00Z"


def _meta(name: str, more: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1} | more


def volume(name: str = "v", *, made: bool = True, meta: dict[str, Any] | None = None, **spec: Any) -> Volume:
    """A volume of 64 MiB."""
    status = {"handle": f"h-{name}", "sizeBytes": 64 * MIB, "phase": "Available"} if made else {}
    return Volume.parse({"metadata": _meta(name, meta or {}), "spec": {"size": "64Mi"} | spec, "status": status})


def snapshot(
    name: str = "s", of: str = "v", *, cut: bool = False, meta: dict[str, Any] | None = None, **spec: Any
) -> Snapshot:
    """A snapshot whose finalizer is on."""
    status = {"handle": f"h-{name}", "sizeBytes": 64 * MIB, "phase": "Ready", "readyToUse": True, "backend": "file"}
    return Snapshot.parse(
        {
            "metadata": _meta(name, {"finalizers": ["dpupool.io/snapshot"]} | (meta or {})),
            "spec": {"volumeRef": {"name": of}} | spec,
            "status": status | {"volumeUid": f"uid-{of}"} if cut else {},
        }
    )


def image(name: str = "i", phase: str = "Ready") -> Image:
    """An image of 64 MiB."""
    return Image.parse(
        {
            "metadata": {"name": name, "uid": f"uid-{name}"},
            "spec": {"source": "x"},
            "status": {"phase": phase, "sizeBytes": 64 * MIB},
        }
    )
