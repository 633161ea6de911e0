"""A chassis as its own process with a real QEMU, and a storage daemon that serves disks to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sushy
from sushy.resources import constants

from lab.ca import Authority, Identity, Role
from lab.qemu import Qemu, find
from tests.fakes.ports import free_port

WAIT_S = 60


class Link:
    """A DPU's end of the PCIe link."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(WAIT_S)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **params: object) -> Any:
        """The result, or the reason of the refusal as a string."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if "id" in answer:
                return answer["result"] if "result" in answer else answer["error"]["data"]["reason"]
            self.events.append(answer["params"])

    def await_event(self, kind: str) -> dict[str, Any]:
        """The next event of a kind."""
        while True:
            event = self.events.pop(0) if self.events else json.loads(self._lines.readline())["params"]
            if event["kind"] == kind:
                return dict(event)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class ChassisProcess:
    """Starts and kills ``python -m lab.chassis``."""

    def __init__(self, folder: Path, **qemu_settings: object) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.uuid = str(uuid.uuid4())
        authority = Authority(folder / "ca")
        pair = authority.issue(Identity("bmc-1", Role.BMC, ("127.0.0.1",)))
        self.ca_file = authority.ca_file
        self._process: subprocess.Popen[bytes] | None = None
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        qemu = find()
        settings: dict[str, object] = {"memory_mib": 64}
        if qemu is not None:
            settings |= {"binary": str(qemu.system), "data_dirs": [str(path) for path in qemu.data_dirs]}
            settings |= {"module_dir": qemu.environment.get("QEMU_MODULE_DIR", "")}
        tables: dict[str, dict[str, object]] = {
            "host": {"name": "host-1", "system_uuid": self.uuid},
            "qemu": settings | qemu_settings,
            "bmc": {
                "port": port,
                "username": "admin",
                "password": "secret",
                "tls_cert_file": str(pair.certificate),
                "tls_key_file": str(pair.key),
                "media_dir": str(folder),
            },
        }
        # JSON's strings, numbers and arrays are TOML's too
        lines = [f"run_dir = {json.dumps(str(self.run))}"]
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        self.config = folder / "chassis.toml"
        self.config.write_text("\n".join(lines), encoding="utf-8")

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "lab.chassis", "--config", str(self.config)]

    def start(self) -> None:
        """Return when it says READY."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            path = self.folder / "notify"
            path.unlink(missing_ok=True)
            supervisor.bind(str(path))
            supervisor.settimeout(WAIT_S)
            with (self.folder / "chassis.log").open("ab") as log:
                self._process = subprocess.Popen(
                    self.command,
                    env=os.environ | {"NOTIFY_SOCKET": str(path)},
                    stderr=log,
                )
            assert supervisor.recv(4096).startswith(b"READY=1"), self.log()

    def log(self) -> str:
        return (self.folder / "chassis.log").read_text(encoding="utf-8")

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(WAIT_S)

    def link(self) -> Link:
        return Link(self.run / "pcie.sock")

    def bmc(self, auth: sushy.auth.AuthBase | None = None) -> sushy.Sushy:
        """A stock client that verifies the BMC's certificate."""
        known = auth or sushy.auth.BasicAuth("admin", "secret")
        return sushy.Sushy(self.url, verify=str(self.ca_file), auth=known, server_side_retries=1)

    def reset(self, how: constants.ResetType) -> sushy.resources.system.system.System:
        """The system, after a reset."""
        system = self.bmc().get_system()
        system.reset_system(how)
        return system

    def console_shows(self, mark: bytes, times: int = 1) -> bytes:
        """The console's log once it holds a mark so many times."""
        log, limit = self.run / "console.log", time.monotonic() + 3 * WAIT_S
        while not log.exists() or log.read_bytes().count(mark) < times:
            assert time.monotonic() < limit, log.read_bytes() if log.exists() else self.log()
            time.sleep(0.05)
        return log.read_bytes()

    def qemu_pid(self) -> int:
        """The running QEMU, by the pid file that it removes at its end; 0 for none."""
        try:
            pid = int((self.run / "qemu.pid").read_text(encoding="utf-8"))
            return pid if Path(f"/proc/{pid}/cmdline").read_bytes() else 0
        except FileNotFoundError:
            return 0

    def hosts(self) -> list[int]:
        """Process ids of every QEMU of this chassis, found without its help."""
        mark = f"\0{self.run / 'qemu.pid'}\0".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue  # it ended
            if mark in command:
                found.append(int(process.name))
        return found

    def clean_up(self) -> None:
        """End whatever still runs."""
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGKILL)
        for pid in self.hosts():
            os.kill(pid, signal.SIGKILL)


@contextmanager
def storage_daemon(folder: Path, **sizes: int) -> Iterator[tuple[Path, Callable[[str, int], None]]]:
    """A real qemu-storage-daemon that exports raw images by name; yields its socket and a way to grow one."""
    qemu: Qemu | None = find()
    program = str(qemu.storage_daemon) if qemu else "qemu-storage-daemon"
    sock, qmp = folder / "nbd.sock", folder / "qsd.qmp"
    words = [program, "--chardev", f"socket,path={qmp},server=on,wait=off,id=c", "--monitor", "chardev=c"]
    words += ["--nbd-server", f"addr.type=unix,addr.path={sock}", "--pidfile", str(folder / "qsd.pid")]
    for name, size in sizes.items():
        image = folder / f"{name}.raw"
        with image.open("wb") as file:
            file.truncate(size)
        words += ["--blockdev", f"driver=file,filename={image},node-name={name}"]
        words += ["--export", f"type=nbd,id={name},node-name={name},name={name},writable=on"]
    environment = os.environ | (qemu.environment if qemu else {})
    daemon = subprocess.Popen([*words, "--daemonize"], env=environment)
    assert daemon.wait(WAIT_S) == 0  # with --daemonize the parent ends when everything is served
    try:
        yield sock, lambda name, size: grow_export(qmp, name, size)
    finally:
        os.kill(int((folder / "qsd.pid").read_text(encoding="utf-8")), signal.SIGKILL)


def grow_export(qmp: Path, name: str, size: int) -> None:
    """Grow an exported image: the export goes, the image grows, the export comes back."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT_S)
        client.connect(str(qmp))
        lines = client.makefile("rb")
        lines.readline()

        def execute(command: str, **arguments: object) -> None:
            client.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
            while True:
                answer = json.loads(lines.readline())
                if "event" not in answer:
                    assert "return" in answer, answer
                    return

        execute("qmp_capabilities")
        execute("block-export-del", id=name, mode="hard")
        while json.loads(lines.readline()).get("event") != "BLOCK_EXPORT_DELETED":
            pass
        execute("block_resize", **{"node-name": name, "size": size})
        execute("block-export-add", type="nbd", id=name, name=name, writable=True, **{"node-name": name})
        lines.close()
