"""A Kubernetes API to be judged: the embedded server, or the one that KUBECONFIG_REAL names."""

import base64
import json
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

Obj = dict[str, Any]
WIDGETS = Path(__file__).with_name("widgets.yaml")
GROUP, VERSION = "conformance.dpupool.io", "v1"
API_VERSION = f"{GROUP}/{VERSION}"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
STRATEGIC = "application/strategic-merge-patch+json"


def widget(name: str = "", **spec: Any) -> Obj:
    """A valid widget."""
    metadata = {"name": name} if name else {}
    return {"apiVersion": API_VERSION, "kind": "Widget", "metadata": metadata, "spec": {"color": "red"} | spec}


class WatchStream:
    """Events of one watch; the client's read timeout is the limit of waiting for one."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()

    def next(self) -> Obj:
        """The next event."""
        found: Obj = json.loads(next(self._lines))
        return found

    def take(self, count: int) -> list[tuple[str, str]]:
        """Types and names of the next events."""
        events = [self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]

    def ended(self) -> bool:
        """Whether the stream ends without a further event."""
        return next(self._lines, None) is None


@dataclass
class Cluster:
    """A server and a namespace of one's own in it.

    Attributes:
        http: client with full rights.
        kubeconfig: of the same user.
        embedded: whether it is the embedded server.
    """

    http: httpx.Client
    kubeconfig: Path
    namespace: str
    embedded: bool

    @property
    def widgets(self) -> str:
        """Path of the widgets of the namespace."""
        return f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/widgets"

    def core(self, plural: str) -> str:
        """Path of a core resource of the namespace."""
        return f"/api/v1/namespaces/{self.namespace}/{plural}"

    def create(
        self, name: str = "", *, status: int = 201, body: Obj | None = None, query: str = "", **spec: Any
    ) -> Obj:
        """Create a widget and return the answer."""
        response = self.http.post(f"{self.widgets}{query}", json=body or widget(name, **spec))
        assert response.status_code == status, response.text
        return self._obj(response)

    def get(self, name: str, status: int = 200) -> Obj:
        """A widget."""
        response = self.http.get(f"{self.widgets}/{name}")
        assert response.status_code == status, response.text
        return self._obj(response)

    def patch(self, name: str, body: Any, kind: str = MERGE, *, status: int = 200, query: str = "") -> Obj:
        """Patch a widget (``name`` may carry a subresource) and return the answer."""
        return self.patch_path(f"{self.widgets}/{name}{query}", body, kind, status=status)

    def patch_path(self, path: str, body: Any, kind: str = MERGE, *, status: int = 200) -> Obj:
        """Patch anything and return the answer."""
        response = self.http.patch(path, content=json.dumps(body), headers={"Content-Type": kind})
        assert response.status_code == status, response.text
        return self._obj(response)

    def apply(self, body: Obj, manager: str, *, status: int = 200, force: bool = False, sub: str = "") -> Obj:
        """Apply a widget as a manager and return the answer."""
        query = f"?fieldManager={manager}&force={str(force).lower()}"
        return self.patch(f"{body['metadata']['name']}{sub}", body, APPLY, status=status, query=query)

    def delete(self, name: str, *, status: int = 200, **options: Any) -> Obj:
        """Delete a widget and return the answer."""
        response = self.http.request("DELETE", f"{self.widgets}/{name}", json=options)
        assert response.status_code == status, response.text
        return self._obj(response)

    @contextmanager
    def watch(self, query: str = "", path: str = "", accept: str = "application/json") -> Iterator[WatchStream]:
        """A watch of widgets, or of another path."""
        url = f"{path or self.widgets}?watch=true&{query}"
        with self.http.stream("GET", url, headers={"Accept": accept}) as response:
            if response.status_code != 200:
                response.read()
            assert response.status_code == 200, response.text
            yield WatchStream(response)

    @staticmethod
    def _obj(response: httpx.Response) -> Obj:
        found: Obj = response.json()
        return found


def real_client(kubeconfig: Path) -> httpx.Client:
    """A client for the current context of a kubeconfig."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = next(each["context"] for each in config["contexts"] if each["name"] == config["current-context"])
    cluster = next(each["cluster"] for each in config["clusters"] if each["name"] == context["cluster"])
    user = next(each["user"] for each in config["users"] if each["name"] == context["user"])
    tls = ssl.create_default_context(cadata=_data(cluster, "certificate-authority").decode())
    if "client-certificate" in user or "client-certificate-data" in user:
        with tempfile.TemporaryDirectory() as directory:
            certificate, key = Path(directory) / "crt", Path(directory) / "key"
            certificate.write_bytes(_data(user, "client-certificate"))
            key.write_bytes(_data(user, "client-key"))
            tls.load_cert_chain(certificate, key)
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    return httpx.Client(base_url=cluster["server"], verify=tls, headers=headers, timeout=30.0)


def _data(section: Obj, name: str) -> bytes:
    if f"{name}-data" in section:
        return base64.b64decode(section[f"{name}-data"])
    return Path(section[name]).read_bytes()


REAL = os.environ.get("KUBECONFIG_REAL", "")
