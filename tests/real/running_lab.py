"""A whole lab for the tests that need one, and the eyes to see whether anything is left in it."""

import asyncio
import hashlib
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from lab import lifecycle, programs, qemu
from lab.ca import Authority
from lab.client import LabApi, Object
from lab.demo import remains
from lab.inventory import API_VERSION, SUBNET
from lab.kubeconfig import ADMIN
from lab.settings import HostLink, LabSettings, Layout
from lab.supervisor.control import SupervisorClient
from proto.errors import DpuError
from tests.fakes.ports import free_port
from tests.real.guest import Guest

NAMESPACE = "default"
RUNNING_S = 300.0
GONE_S = 180.0
LOOK_S = 0.05
Found = TypeVar("Found")


class RunningLab:
    """One lab that is up.

    Args:
        settings: as it was brought up.
        layout: where its files are.
    """

    def __init__(self, settings: LabSettings, layout: Layout) -> None:
        self.settings, self.layout = settings, layout
        self.authority = Authority(layout.pki)
        self.api = LabApi(lifecycle.server_of(settings), self.authority)
        self.supervisor = SupervisorClient(layout.control_socket)

    def create(self, name: str, **spec: Any) -> None:
        """Apply a machine that boots the tiny image, with one NIC unless told otherwise."""
        usual = {"image": "tiny", "nics": [{"name": "eth0", "subnetRef": {"name": SUBNET}}]}
        self.api.apply(
            {
                "apiVersion": API_VERSION,
                "kind": "BareMetalMachine",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": usual | spec,
            }
        )

    def machine(self, name: str) -> Object:
        """The machine as it is; an empty object when it is gone."""
        return self._patiently(self._path("BareMetalMachine", name)) or {}

    def phase(self, name: str) -> str:
        """Phase of a machine; empty before it has one."""
        return str(self.machine(name).get("status", {}).get("phase", ""))

    def patch(self, name: str, spec: Object) -> None:
        """Merge into a machine's spec."""
        self.api.merge(self._path("BareMetalMachine", name), {"spec": spec})

    def wait_running(self, name: str, timeout_s: float = RUNNING_S) -> Object:
        """Wait until a machine runs, through restarts of the API."""
        return self.wait_phase(name, "Running", timeout_s)

    def wait_phase(self, name: str, phase: str, timeout_s: float = RUNNING_S) -> Object:
        """Wait until a machine is in a phase, through restarts of the API."""
        deadline = time.monotonic() + timeout_s
        while (found := self.machine(name)).get("status", {}).get("phase") != phase:
            assert time.monotonic() < deadline, f"{name} is not {phase}: {json.dumps(found.get('status'))}"
            time.sleep(LOOK_S)
        return found

    @staticmethod
    def wait(done: Callable[[], bool], found: Callable[[], Found], timeout_s: float = GONE_S) -> Found:
        """Wait until something holds, then look."""
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, f"after {timeout_s:g} s: {found()}"
            time.sleep(LOOK_S)
        return found()

    def delete(self, name: str) -> None:
        """Ask for a machine's deletion, again while the API is away."""
        deadline = time.monotonic() + GONE_S
        while True:
            try:
                return self.api.delete(self._path("BareMetalMachine", name))
            except DpuError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_S)

    def wait_gone(self, name: str, timeout_s: float = GONE_S) -> None:
        """Wait until a machine's object is gone."""
        deadline = time.monotonic() + timeout_s
        while found := self.machine(name):
            assert time.monotonic() < deadline, f"{name} is not gone: {json.dumps(found.get('status'))}"
            time.sleep(LOOK_S)

    def objects(self, kind: str, version: str = API_VERSION) -> list[Object]:
        """All objects of a kind, in all namespaces."""
        found: list[Object] = (self._patiently(LabApi.path(version, kind)) or {}).get("items", [])
        return found

    def guest(self, name: str) -> Guest:
        """The console of a machine."""
        pair = self.authority.issue(ADMIN)
        context = ssl.create_default_context(cafile=str(self.authority.ca_file))
        context.load_cert_chain(pair.certificate, pair.key)
        group = f"subresources.{API_VERSION}"
        path = f"/apis/{group}/namespaces/{NAMESPACE}/baremetalmachines/{name}/console"
        return Guest(lifecycle.server_of(self.settings) + path, context)

    async def guest_again(self, name: str) -> Guest:
        """The console of a machine, as soon as a coordinator that was killed can give it again."""
        deadline = time.monotonic() + GONE_S
        while True:
            try:
                async with self.guest(name):
                    return self.guest(name)
            except aiohttp.ClientError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(LOOK_S)

    def pid(self, unit: str) -> int:
        """Process id of a unit, 0 when it is between two lives."""
        return next((each.pid for each in self.supervisor.status().units if each.name == unit), 0) or 0

    def pings(self, address: str) -> bool:
        """Whether one echo request from the fabric, through the DPU's switch, is answered."""
        netns = f"{self.settings.name}-fab"
        command = ["ip", "netns", "exec", netns, "ping", "-c1", "-W2", address]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def functions(self, number: int) -> list[Object]:
        """Disks and NICs on the PCIe link of a host."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(60)
            link.connect(str(programs.pcie_socket(self.layout, number)))
            link.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "bus.get", "params": {}}).encode() + b"\n")
            answer = json.loads(link.makefile("rb").readline())["result"]
        return [*answer["disks"], *answer["nics"]]

    def volume_files(self) -> set[Path]:
        """Files of volumes on the storage node."""
        return set((self.layout.state_of("storage") / "volumes").glob("*"))

    def leftovers(self) -> list[str]:
        """Everything that a machine could have left behind, one sentence each; empty when nothing did."""
        found = [f"{kind}: {', '.join(sorted(what))}" for kind, what in self._remains().items() if what]
        for host in self.objects("BareMetalHost"):
            found += [f"claim on {host['metadata']['name']}"] if host["spec"].get("claimRef") else []
        for dpu in self.objects("Dpu"):
            used = [dpu["status"].get(slots, {}).get("used", 0) for slots in ("diskSlots", "nicSlots")]
            found += [f"{dpu['metadata']['name']} counts {used} functions in use"] if any(used) else []
        for number in range(1, self.settings.hosts + 1):
            found += [f"function {each} on host {number}" for each in self.functions(number)]
        return found

    def _remains(self) -> remains.Found:
        deadline = time.monotonic() + GONE_S
        while True:
            try:
                return remains.look(self.settings, self.layout, qemu.require(), self.api)
            except DpuError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_S)

    def _patiently(self, path: str) -> Object | None:
        deadline = time.monotonic() + GONE_S
        while True:
            try:
                return self.api.get(path)
            except DpuError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_S)

    @staticmethod
    def _path(kind: str, name: str) -> str:
        return LabApi.path(API_VERSION, kind, name, NAMESPACE)


def lab_name(kind: str) -> str:
    """Name of a lab that is this checkout's own, and the same each time, so that what a killed run left is found.

    Args:
        kind: one letter.
    """
    return kind + hashlib.sha256(str(Path(__file__).resolve()).encode()).hexdigest()[:4]


@contextmanager
def running_lab(name: str, hosts: int = 1, link: HostLink = HostLink.PCIE, pod_nodes: int = 0) -> Iterator[RunningLab]:
    """Bring a lab up, take it down at the end; its logs stay when DPUPOOL_KEEP_LOGS is set."""
    settings = LabSettings(name=name, hosts=hosts, api_port=free_port(), link=link, pod_nodes=pod_nodes)
    lifecycle.down(name)
    layout = lifecycle.up(settings, lambda _: None)
    lab = RunningLab(settings, layout)
    try:
        yield lab
    finally:
        lab.api.__exit__(None, None, None)
        lifecycle.down(name, keep_logs=bool(os.environ.get("DPUPOOL_KEEP_LOGS")))
