"""Kubernetes objects for tests, with the few fields that matter."""

from typing import Any

from coordinator.core.pool.observation import GroupObservation

Json = dict[str, Any]
NOW_S = 1_800_000_000.0
LONG_AGO = "2026-01-01T00:00:00Z"


def node(name: str, cpu: str = "4", memory: str = "16Gi", **more: Any) -> Json:
    labels = {"kubernetes.io/hostname": name, **more.get("labels", {})}
    amounts = {"cpu": cpu, "memory": memory, "pods": "110", **more.get("amounts", {})}
    status: Json = {"capacity": amounts, "allocatable": amounts}
    ready = "True" if more.get("ready", True) else "False"
    status["conditions"] = [{"type": "Ready", "status": ready, "lastTransitionTime": LONG_AGO}]
    metadata = {"name": name, "labels": labels, "annotations": more.get("annotations", {})}
    spec = {"taints": more.get("taints", []), "unschedulable": more.get("unschedulable", False)}
    return {"metadata": metadata, "spec": spec, "status": status}


def pod(name: str, cpu: str = "1", memory: str = "1Gi", on: str = "", **more: Any) -> Json:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": more.get("owner", "web"), "controller": True}
    metadata: Json = {
        "name": name,
        "namespace": more.get("namespace", "default"),
        "labels": more.get("labels", {"app": "web"}),
        "annotations": more.get("annotations", {}),
        "creationTimestamp": more.get("created", LONG_AGO),
        "ownerReferences": [{**owner, "kind": more.get("kind", "ReplicaSet")}] if more.get("owner", "web") else [],
    }
    container: Json = {"name": "main", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    container["ports"] = more.get("ports", [])
    spec: Json = {
        "containers": [container],
        "nodeName": on,
        "priority": more.get("priority", 0),
        **more.get("spec", {}),
    }
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Running" if on else "Pending"}}


def group(name: str, nodes: list[str] | None = None, **more: Any) -> GroupObservation:
    members = nodes or []
    return GroupObservation(
        name=name,
        minimum=more.get("minimum", 0),
        maximum=more.get("maximum", 10),
        target=more.get("target", len(members)),
        template=more.get("template", node(f"template-{name}")),
        daemon_pods=more.get("daemon_pods", []),
        nodes=members,
        options=more.get("options", {}),
        price_per_hour=more.get("price"),
        healthy=more.get("healthy", True),
    )


def budget(name: str, allowed: int, labels: dict[str, str]) -> Json:
    metadata = {"name": name, "namespace": "default"}
    return {
        "metadata": metadata,
        "spec": {"selector": {"matchLabels": labels}},
        "status": {"disruptionsAllowed": allowed},
    }
