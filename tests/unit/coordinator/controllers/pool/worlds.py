"""Objects for tests of the pools' parts: hosts, pools, machines, and a loop over an API in memory."""

from datetime import UTC, datetime
from typing import Any

from coordinator.controllers.pool.view import View
from coordinator.core.objects.fleet import Host
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.meta import Json
from coordinator.core.objects.pool import POOL_LABEL, Pool

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pool(name: str = "work", **spec: Any) -> Pool:
    wanted = {"kind": "container", "maximum": 100, "template": {"image": "tiny"}} | spec
    return Pool.parse({"metadata": {"name": name, "uid": name, "resourceVersion": "1"}, "spec": wanted})


def host(name: str, *, owner: str = "", phase: str = "Available", labels: Any = None, **spec: Any) -> Host:
    wanted: Json = {
        "dpuRef": {"name": f"dpu-{name}"},
        "bmc": {"address": "ipmi://192.0.2.1", "credentialsSecretRef": {"namespace": "default", "name": "bmc"}},
        "hardware": {"model": "m1", "cpus": 96, "memoryMiB": 393216},
    } | spec
    if owner:
        wanted["poolRef"] = {"name": owner}
    meta = {"name": name, "uid": name, "resourceVersion": "1", "labels": labels or {}}
    return Host.parse({"metadata": meta, "spec": wanted, "status": {"phase": phase}})


def machine(name: str, server: str, of: str = "work", *, made: str = "2026-01-01T11:59:00Z", **status: Any) -> Machine:
    meta = {
        "name": name,
        "namespace": "default",
        "uid": name,
        "resourceVersion": "1",
        "labels": {POOL_LABEL: of},
        "creationTimestamp": made,
    }
    return Machine.parse({"metadata": meta, "spec": {"image": "tiny", "hostRef": {"name": server}}, "status": status})


def view(
    pools: list[Pool], hosts: list[Host], machines: tuple[Machine, ...] = (), nodes: tuple[Json, ...] = ()
) -> View:
    return View(
        NOW,
        tuple(pools),
        {one.metadata.name: one for one in hosts},
        machines,
        {node["metadata"]["name"]: node for node in nodes},
    )
