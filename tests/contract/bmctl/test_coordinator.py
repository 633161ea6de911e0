"""bmctl against the coordinator as a process of its own: the real program, its API, bm-api and metrics."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from bmctl.main import bmctl
from tests.fakes.api import Pki
from tests.fakes.ports import free_port

ADMIN = "the-admins-token"
READY_S = 60


class Running:
    """A coordinator that has said that it is ready."""

    def __init__(self, folder: Path, url: str, process: "subprocess.Popen[bytes]") -> None:
        self.folder = folder
        self.url = url
        self.process = process
        self._env = {"KUBECONFIG": str(folder / "kubeconfig"), "HOME": str(folder), "NO_COLOR": "1"}

    def bmctl(self, *arguments: str) -> Result:
        return CliRunner().invoke(bmctl, arguments, env=self._env, catch_exceptions=False)

    def get(self, path: str, token: str = ADMIN) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        context = ssl.create_default_context(cafile=str(self.folder / "test-ca.crt"))
        return httpx.get(self.url + path, headers=headers, verify=context, trust_env=False)


def configure(folder: Path, port: int) -> Path:
    """A coordinator's settings without any DPU, and a kubeconfig of its administrator."""
    certificate, key = Pki.create(folder).issue("coordinator")
    (folder / "tokens").write_text(f'{ADMIN},admin,1,"dpupool:admin"\nlook,viewer,2,"dpupool:viewer"\n')
    config = folder / "coordinator.toml"
    config.write_text(
        f'state = "{folder}/state.db"\n[api]\nlisten = ["127.0.0.1:{port}"]\ntls_cert = "{certificate}"\n'
        f'tls_key = "{key}"\nclient_ca = "{folder}/test-ca.crt"\ntokens = "{folder}/tokens"\n'
    )
    (folder / "kubeconfig").write_text(
        f"""
current-context: it
clusters: [{{name: it, cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: test-ca.crt}}}}]
users: [{{name: it, user: {{token: {ADMIN}}}}}]
contexts: [{{name: it, context: {{cluster: it, user: it}}}}]
"""
    )
    return config


def await_ready(told: socket.socket, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when the process has said READY; its log is the reason why not."""
    for _ in range(READY_S):
        assert process.poll() is None, log.read_text()
        try:
            if b"READY=1" in told.recv(4096):
                return
        except TimeoutError:
            continue
    pytest.fail(log.read_text())


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    port = free_port()
    config = configure(folder, port)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, (folder / "log").open("wb") as log:
        ready.bind(str(folder / "notify"))
        ready.settimeout(1.0)
        command = [sys.executable, "-m", "coordinator.main", "--config", str(config)]
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
        with subprocess.Popen(command, stderr=log, env=environment) as process:
            try:
                await_ready(ready, process, folder / "log")
                yield Running(folder, f"https://127.0.0.1:{port}", process)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(READY_S)


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("c")) as found:
        yield found


def test_machines_are_created_stopped_and_deleted_through_the_real_program(coordinator: Running) -> None:
    assert coordinator.bmctl("create", "machine", "bm-01", "--image", "tiny").exit_code == 0
    assert coordinator.bmctl("stop", "bm-01").stdout == "machine/bm-01 stopping\n"
    assert coordinator.bmctl("disk", "attach", "bm-01", "data", "--size", "1Gi").exit_code == 0
    shown = coordinator.bmctl("get", "machine", "bm-01", "-o", "yaml").stdout
    assert "power: 'Off'" in shown
    assert "name: data" in shown
    assert coordinator.bmctl("delete", "machine", "bm-01", "--timeout", "30").exit_code == 0


def test_an_image_that_does_not_exist_is_told_by_the_controllers(coordinator: Running) -> None:
    result = coordinator.bmctl("create", "machine", "bm-02", "--image", "nope", "--wait", "--timeout", "10")
    assert result.exit_code != 0
    assert "nope" in result.stderr
    assert "nope" in coordinator.bmctl("describe", "machine", "bm-02").stdout
    assert coordinator.bmctl("delete", "machine", "bm-02", "--timeout", "30").exit_code == 0


def test_metrics_and_readiness_are_for_who_may_see_them(coordinator: Running) -> None:
    text = coordinator.get("/metrics").text
    assert 'dpupool_controller_ready{controller="controllers"} 1.0' in text
    assert "dpupool_reconcile_seconds" in text
    assert coordinator.get("/controllers").text == "[+] controllers\nready\n"
    assert coordinator.get("/metrics", "look").status_code == 403
    assert coordinator.get("/metrics", "nobody").status_code == 401


def test_a_viewer_cannot_stop_a_machine(coordinator: Running) -> None:
    body = coordinator.get("/apis/subresources.dpupool.io/v1alpha1", "look").json()
    assert "baremetalmachines/console" in [resource["name"] for resource in body["resources"]]
    path = "/apis/subresources.dpupool.io/v1alpha1/namespaces/default/baremetalmachines/bm-01/console"
    assert coordinator.get(path, "look").status_code == 403
