"""Volumes and what is around them, put into the API past bmctl."""

from typing import Any

from tests.unit.bmctl.stage import Stage

NOW = "2026-01-01T12:00:00Z"
GROUP = "/apis/dpupool.io/v1alpha1"
GIB = 1 << 30
Object = dict[str, Any]


def put(stage: Stage, kind: str, name: str, spec: Object, status: Object | None = None, **metadata: Any) -> Object:
    """Create an object of ours with its status."""
    path = _path(kind)
    head = {"apiVersion": "dpupool.io/v1alpha1", "kind": kind, "metadata": {"name": name, **metadata}}
    made = stage.ask("POST", path, {**head, "spec": spec})
    return tell(stage, kind, name, status) if status else made


def tell(stage: Stage, kind: str, name: str, status: Object) -> Object:
    """Play the controller of an object: it agrees with the newest spec."""
    generation = read(stage, kind, name)["metadata"]["generation"]
    body = {"status": {"observedGeneration": generation, **status}}
    return stage.ask("PATCH", f"{_path(kind)}/{name}/status", body)


def read(stage: Stage, kind: str, name: str) -> Object:
    """An object as it stands."""
    return stage.ask("GET", f"{_path(kind)}/{name}")


def names(stage: Stage, kind: str) -> list[str]:
    """Names of all objects of a kind."""
    return sorted(one["metadata"]["name"] for one in stage.ask("GET", _path(kind))["items"])


def volume(stage: Stage, name: str = "data", size: str = "1Gi", **more: Any) -> Object:
    """A volume that is there."""
    status = {"phase": "Available", "handle": f"h-{name}", "sizeBytes": GIB, "allocatedBytes": 1 << 20}
    return put(stage, "Volume", name, {"size": size, **more}, {**status, "conditions": [ready("1Gi at backend file")]})


def attachment(stage: Stage, volume_name: str = "data", host: str = "host-1", **status: Any) -> Object:
    """A volume's disk at a host."""
    spec = {"volumeRef": {"name": volume_name}, "hostRef": {"name": host}}
    shown = {"phase": "Attached", "dpu": "dpu-1", "serial": "S1", "slot": 1, "generation": 1, "liveResize": True}
    told = {"sizeBytes": GIB, "conditions": [ready("slot 1 of DPU dpu-1")]}
    return put(stage, "VolumeAttachment", f"{volume_name}-{host}", spec, {**shown, **told, **status})


def host(stage: Stage, *, online: bool = True) -> None:
    """host-1 with dpu-1."""
    server(stage, "host-1")
    status: Object = {"phase": "Online"}
    if not online:
        status = {"phase": "Offline", "conditions": [ready("no answer for 20 s", "Unavailable")]}
    put(stage, "Dpu", "dpu-1", {"address": "192.0.2.7:7443"}, status)


def server(stage: Stage, name: str) -> None:
    """A host behind dpu-1."""
    secret = {"name": "bmc", "namespace": "default"}
    bmc = {"address": "redfish+https://192.0.2.1", "credentialsSecretRef": secret}
    put(stage, "BareMetalHost", name, {"bmc": bmc, "dpuRef": {"name": "dpu-1"}})


def ready(message: str, reason: str = "Ready") -> Object:
    """Condition Ready: True, or False with a reason of its own."""
    status = "True" if reason == "Ready" else "False"
    return {"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": NOW}


def _path(kind: str) -> str:
    scope = "" if kind in {"BareMetalHost", "Dpu", "Image"} else "/namespaces/default"
    return f"{GROUP}{scope}/{kind.lower()}s"
