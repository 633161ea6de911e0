"""Pool commands against a running API."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmctl.exits import Exit
from tests.unit.bmctl.stage import Stage, a_stage
from tests.unit.coordinator.core.pool.objects import node, pod

ROOT = "/apis/dpupool.io/v1alpha1"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_stage(tmp_path) as found:
        yield found


def a_pool(stage: Stage, name: str, kind: str = "container", **spec: Any) -> None:
    body = {
        "apiVersion": "dpupool.io/v1alpha1",
        "kind": "ServerPool",
        "metadata": {"name": name},
        "spec": {"kind": kind, "maximum": 10, "template": {"image": "tiny"}, **spec},
    }
    stage.ask("POST", f"{ROOT}/serverpools", body)


def a_host(stage: Stage, name: str, owner: str = "", **lease: Any) -> None:
    spec: dict[str, Any] = {"hardware": {"cpus": 16, "memoryMiB": 65536}, "lease": lease, "bmc": BMC, "dpuRef": DPU}
    if owner:
        spec["poolRef"] = {"name": owner}
    body = {"apiVersion": "dpupool.io/v1alpha1", "kind": "BareMetalHost", "metadata": {"name": name}, "spec": spec}
    stage.ask("POST", f"{ROOT}/baremetalhosts", body)
    stage.ask("PATCH", f"{ROOT}/baremetalhosts/{name}/status", {"status": {"phase": "Available"}})


def a_pod(stage: Stage, name: str, cpu: str) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", **pod(name, cpu, owner="")}
    stage.ask("POST", "/api/v1/namespaces/default/pods", body)


BMC = {
    "type": "Redfish",
    "address": "redfish+https://192.0.2.1",
    "credentialsSecretRef": {"namespace": "dpupool-system", "name": "bmc"},
}
DPU = {"name": "dpu-1"}


def test_no_pools_are_said_on_standard_error_and_are_no_failure(stage: Stage) -> None:
    result = stage.run("pool", "status")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no pools\n")


def test_status_counts_what_a_pool_owns_lends_and_borrows(stage: Stage) -> None:
    a_pool(stage, "web", priority=5, minimum=1, replicas=3)
    a_pool(stage, "batch")
    a_host(stage, "s1", "web", pool="web", generation=1)
    a_host(stage, "s2", "web", pool="batch", generation=2, recalledFor="web")
    a_host(stage, "s3", pool="batch", generation=1)
    a_host(stage, "s4")
    heading, web, batch, *rest = stage.ok("pool", "status").splitlines()
    names = heading.lower().replace("to come", "coming").split()
    rows = [dict(zip(names, row.split(), strict=True)) for row in (web, batch)]
    assert [row["pool"] for row in rows] == ["web", "batch"]
    assert [(row["held"], row["own"], row["lent"], row["borrowed"], row["coming"]) for row in rows] == [
        ("1", "2", "1", "0", "1"),
        ("2", "0", "0", "1", "0"),
    ]
    assert rows[0]["range"] == "1-10"
    told = "\n".join(rest)
    assert "batch is to give it back for web" in told
    assert "s1" not in told
    assert "4 servers, 1 in no pool's hands" in told


def test_status_lists_every_server_when_asked(stage: Stage) -> None:
    a_pool(stage, "web")
    a_host(stage, "s1", "web", pool="web", generation=1)
    a_host(stage, "s2", "web", reservedFor="web")
    a_host(stage, "s3")
    shown = stage.ok("pool", "status", "--servers")
    for words in ("in its owner's use", "kept for web", "free"):
        assert words in shown


def test_a_plan_looks_at_the_live_cluster_and_its_pools(stage: Stage) -> None:
    a_pool(stage, "web")
    for number in range(3):
        a_host(stage, f"s{number}")
    stage.ask("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", **node("n1", "2")})
    for name in ("a", "b"):
        a_pod(stage, name, "10")
    told = json.loads(stage.ok("pool", "plan", "-o", "json", "--settled"))
    assert told["grow"] == [{"group": "web", "add": 2, "target": 2}]


def test_a_live_pod_is_explained_for_every_pool(stage: Stage) -> None:
    a_pool(stage, "web")
    a_host(stage, "s1")
    a_pod(stage, "a", "20")
    assert "smallest change: free 4 cpu" in stage.ok("pool", "explain", "a")


def test_a_server_that_is_away_is_unreachable(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        stage.api.run(stage.api.server.close)
        assert stage.run("pool", "status").exit_code == Exit.UNREACHABLE
