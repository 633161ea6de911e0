"""The whole program as a process: it serves, leads machines, drains at SIGTERM, and refuses what cannot work."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from coordinator.clients.kube import KubeApi
from coordinator.core.objects.kinds import Kind
from tests.fakes.api import Pki
from tests.fakes.plant import condition, phase
from tests.fakes.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "a-token-of-the-test"


def settings(directory: Path, port: int) -> Path:
    pki = Pki.create(directory)
    server, client = pki.issue("apiserver"), pki.issue("coordinator", ["dpupool:coordinator"])
    (directory / "tokens").write_text(f'{TOKEN},admin,1,"system:masters"\n')
    path = directory / "coordinator.toml"
    path.write_text(
        f"""
state = "{directory}/state.db"
[api]
listen = ["127.0.0.1:{port}"]
tls_cert = "{server[0]}"
tls_key = "{server[1]}"
client_ca = "{pki.ca_file}"
tokens = "{directory}/tokens"
[client]
ca = "{pki.ca_file}"
cert = "{client[0]}"
key = "{client[1]}"
[storage.file]
address = "127.0.0.1:9"
[timing]
offline_after_s = 0.5
dpu_poll_s = 0.2
"""
    )
    return path


@asynccontextmanager
async def started(path: Path, notices: Path) -> AsyncIterator[Process]:
    """The program, once it has said READY."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(notices))
        listener.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "coordinator.main", "--config", str(path), cwd=ROOT, stderr=PIPE,
            env={**os.environ, "NOTIFY_SOCKET": str(notices)},
        )  # fmt: skip
        try:
            async with asyncio.timeout(60):
                loop = asyncio.get_running_loop()
                while b"READY=1" not in await loop.sock_recv(listener, 4096):
                    pass
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


def kubeconfig(directory: Path, port: int) -> str:
    path = directory / "kubeconfig"
    path.write_text(
        f"""
apiVersion: v1
kind: Config
current-context: c
clusters:
- name: c
  cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: "{directory}/test-ca.crt"}}
users: [{{name: c, user: {{token: {TOKEN}}}}}]
contexts: [{{name: c, context: {{cluster: c, user: c}}}}]
"""
    )
    return str(path)


async def test_it_serves_leads_and_drains(tmp_path: Path) -> None:
    port = free_port()
    path = settings(tmp_path, port)
    async with started(path, tmp_path / "notify") as process:
        api = KubeApi.by_kubeconfig(kubeconfig(tmp_path, port))
        body = {"apiVersion": "dpupool.io/v1alpha1", "kind": "Dpu", "metadata": {"name": "d"}}
        await api.create(Kind.DPU, body | {"spec": {"address": "127.0.0.1:9"}})
        async with asyncio.timeout(60):
            while phase(found := await api.get(Kind.DPU, "d")) != "Offline":  # noqa: ASYNC110  (another process)
                await asyncio.sleep(0.05)
        assert "DPU d does not answer" in condition(found)["message"]
        await api.close()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0


async def test_what_was_written_is_there_after_a_kill(tmp_path: Path) -> None:
    port = free_port()
    path = settings(tmp_path, port)
    body = {"apiVersion": "dpupool.io/v1alpha1", "kind": "Network", "metadata": {"name": "lan"}, "spec": {"vlan": 7}}
    async with started(path, tmp_path / "one") as process:
        api = KubeApi.by_kubeconfig(kubeconfig(tmp_path, port))
        made = await api.create(Kind.NETWORK, body)
        process.kill()
        await process.wait()
        await api.close()
    async with started(path, tmp_path / "two"):
        api = KubeApi.by_kubeconfig(kubeconfig(tmp_path, port))
        assert (await api.get(Kind.NETWORK, "lan"))["metadata"]["uid"] == made["metadata"]["uid"]
        await api.close()


@pytest.mark.parametrize(
    ("change", "words", "code"),
    [
        (("[api]", "[apis]"), "apis", 78),
        (("tokens = ", "client_ca_x = "), "client_ca_x", 78),
        (("apiserver.crt", "absent.crt"), "the API cannot be served", 74),
        (("127.0.0.1:", "fd:api#"), "no socket 'api#", 74),
    ],
)
async def test_what_cannot_work_is_refused_in_words(
    tmp_path: Path, change: tuple[str, str], words: str, code: int
) -> None:
    path = settings(tmp_path, free_port())
    path.write_text(path.read_text().replace(*change, 1))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "coordinator.main", "--config", str(path), cwd=ROOT, stderr=PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert words in said.decode()
    assert process.returncode == code
