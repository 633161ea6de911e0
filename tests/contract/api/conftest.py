"""One server for all conformance tests; a namespace for each."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.contract.api.cluster import REAL, WIDGETS, Cluster, real_client
from tests.contract.api.kubectl import Kubectl
from tests.fakes.api import PROJECT_CRDS, running_api


def _install_widgets(cluster: Cluster) -> None:
    """Give a real cluster the test kind, and wait until it is served."""
    manifest = yaml.safe_load(WIDGETS.read_text())
    answer = cluster.http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=manifest)
    assert answer.status_code in {201, 409}, answer.text
    for _ in range(100):
        if cluster.http.get(cluster.widgets).status_code == 200:
            return
        time.sleep(0.1)
    pytest.fail("the real cluster does not serve the test kind")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if REAL:
        with real_client(Path(REAL)) as http:
            cluster = Cluster(http, Path(REAL), "default", embedded=False)
            _install_widgets(cluster)
            yield cluster
        return
    directory = tmp_path_factory.mktemp("api")
    with running_api(directory, manifests=(PROJECT_CRDS, WIDGETS)) as api, api.client() as http:
        yield Cluster(http, api.kubeconfig, "default", embedded=True)


@pytest.fixture
def cluster(server: Cluster) -> Iterator[Cluster]:
    namespace = f"t-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    assert server.http.post("/api/v1/namespaces", json=body).status_code == 201
    yield Cluster(server.http, server.kubeconfig, namespace, server.embedded)
    server.http.delete(f"/api/v1/namespaces/{namespace}")


@pytest.fixture(scope="session")
def kubectl_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubectl")


@pytest.fixture
def kubectl(cluster: Cluster, kubectl_home: Path) -> Kubectl:
    return Kubectl(cluster.kubeconfig, cluster.namespace, kubectl_home)


@pytest.fixture
def modern(kubectl: Kubectl) -> Kubectl:
    """A kubectl that is not older than 1.32."""
    if kubectl.minor < 32:
        pytest.skip(f"kubectl 1.{kubectl.minor} lacks this")
    return kubectl
