"""A pod without place has a server boot and join as a node, by a TLS call of its own; an unused one is given back."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import lifecycle
from lab.client import LabApi, Object
from lab.inventory import API_VERSION, SUBNET
from proto.errors import DpuError
from tests.real.joining import JOINER, UNSCHEDULABLE, pending_pod, user_data, way_to_the_api
from tests.real.running_lab import NAMESPACE, RunningLab

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
JOINED_S = 300.0
BMCTL = Path(sys.executable).parent / "bmctl"


@pytest.fixture
def site(story_lab: RunningLab) -> Iterator[RunningLab]:
    """The lab with a way from its machines to its API, a pool, and what its machines join with."""
    lab = story_lab
    metadata = {"name": "join", "namespace": NAMESPACE}
    with way_to_the_api(lab.settings.name, lab.settings.api_port) as address:
        words = {"userData": user_data(lab.authority, address)}
        lab.api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": words})
        template = {"image": "tiny", "subnet": SUBNET, "userDataSecretRef": {"name": "join"}, "labels": {"tier": "lab"}}
        spec = {"kind": "container", "maximum": 1, "template": template}
        lab.api.apply({"apiVersion": API_VERSION, "kind": "ServerPool", "metadata": {"name": "web"}, "spec": spec})
        yield lab


def pool(lab: RunningLab) -> Object:
    found: Object = lab.api.get(lab.api.path(API_VERSION, "ServerPool", "web")) or {}
    return found


def nodes(lab: RunningLab) -> list[Object]:
    return lab.objects("Node", "v1")


def bmctl(lab: RunningLab, *words: str) -> str:
    """What bmctl says."""
    command = [str(BMCTL), "--kubeconfig", str(lab.layout.kubeconfig), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"COLUMNS": "200", "PATH": "/usr/bin"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def bind(lab: RunningLab, pod: str, node: str) -> None:
    """What a scheduler does once a node is there that takes pods."""
    path = lab.api.path("v1", "Pod", pod, NAMESPACE)
    lab.api.merge(path, {"spec": {"nodeName": node}})
    lab.api.merge(f"{path}/status", {"status": {"phase": "Running", "conditions": None}})


def test_a_pending_pod_has_a_server_boot_and_join_and_an_unused_one_goes_back(site: RunningLab) -> None:
    lab = site
    lab.api.apply(pending_pod("web-0", NAMESPACE))
    pod = lab.api.path("v1", "Pod", "web-0", NAMESPACE)
    lab.api.merge(f"{pod}/status", {"status": UNSCHEDULABLE})

    lab.wait(lambda: bool(lab.objects("BareMetalMachine")), lambda: pool(lab))
    said = bmctl(lab, "pool", "explain", f"{NAMESPACE}/web-0")
    assert "web" in said
    lab.wait(lambda: bool(nodes(lab)), lambda: lab.objects("BareMetalMachine"), JOINED_S)
    lab.wait(lambda: pool(lab)["status"].get("ready") == 1, lambda: pool(lab))

    [machine], [node] = lab.objects("BareMetalMachine"), nodes(lab)
    name = machine["metadata"]["name"]
    assert machine["status"]["phase"] == "Running"
    assert node["metadata"]["name"] == name
    assert node["spec"]["providerID"] == f"dpupool://{NAMESPACE}/{name}"
    assert node["metadata"]["labels"] == {"tier": "lab", "dpupool.io/pool": "web"}
    bind(lab, "web-0", name)
    status = bmctl(lab, "pool", "status")
    assert [line.split()[:9] for line in status.splitlines()[1:2]] == [
        ["web", "container", "0", "0-1", "1", "1", "1", "0", "0"]
    ]
    assert "web-0" in bmctl(lab, "pool", "explain", name)

    lab.api.delete(pod)
    lab.api.merge(lab.api.path(API_VERSION, "ServerPool", "web"), {"spec": {"replicas": 0}})
    lab.wait(lambda: not nodes(lab) and not lab.objects("BareMetalMachine"), lambda: pool(lab))
    lab.api.delete(lab.api.path(API_VERSION, "ServerPool", "web"))
    lab.wait(lambda: not pool(lab), lambda: pool(lab))
    [host] = lab.objects("BareMetalHost")
    assert host["spec"]["lease"]["pool"] == ""
    lab.wait(lambda: not lab.leftovers(), lab.leftovers)


def test_what_a_machine_joins_with_opens_nothing_but_nodes(site: RunningLab) -> None:
    with LabApi(lifecycle.server_of(site.settings), site.authority, JOINER) as api:
        assert api.get(api.path("v1", "Node", "nobody")) is None
        for kind, version in (("Pod", "v1"), ("Secret", "v1"), ("Node", "v1"), ("BareMetalMachine", API_VERSION)):
            with pytest.raises(DpuError, match="cannot list resource"):
                api.get(api.path(version, kind))
        with pytest.raises(DpuError, match="cannot patch resource"):
            api.merge(api.path("v1", "Node", "nobody"), {"spec": {"unschedulable": True}})
    site.api.delete(site.api.path(API_VERSION, "ServerPool", "web"))
    site.wait(lambda: not pool(site), lambda: pool(site))
