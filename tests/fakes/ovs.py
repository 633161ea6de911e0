"""A real Open vSwitch with the userspace datapath, in a directory and a network namespace of its own."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from dpu_daemon.drivers.ethernet import disable_tx_checksum
from tests.fakes.netns import inside, ip
from tests.fakes.qsd import DIES_WITH_THE_TEST

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
START_TIMEOUT_S = 60.0


class OvsStack:
    """ovsdb-server and ovs-vswitchd as children of the test.

    Args:
        directory: for database, sockets and logs; its path must be short enough for a Unix socket.
        netns: namespace to run in.
        options: more arguments of ovs-vswitchd.
    """

    def __init__(self, directory: Path, netns: str, options: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.netns = netns
        self._options = options
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        folders = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        self._environment = {**os.environ, **dict.fromkeys(folders, str(directory))}

    @property
    def socket(self) -> str:
        return str(self.directory / "db.sock")

    def start(self) -> None:
        subprocess.run(["ovsdb-tool", "create", str(self.directory / "conf.db"), SCHEMA], check=True)
        self.start_database()
        self.vsctl("--no-wait", "init")
        self.start_vswitchd()

    def start_database(self) -> None:
        command = ["ovsdb-server", str(self.directory / "conf.db"), f"--remote=punix:{self.socket}"]
        self._start("ovsdb-server", command)
        _wait_for(lambda: listens(self.socket))

    def start_vswitchd(self) -> None:
        self._start("ovs-vswitchd", ["ovs-vswitchd", f"unix:{self.socket}", *self._options])
        pid = f"{self._running['ovs-vswitchd'].pid}\n"
        pidfile = self.directory / "ovs-vswitchd.pid"  # one that was killed has left its own
        _wait_for(lambda: pidfile.exists() and pidfile.read_text() == pid)

    def kill(self, name: str) -> None:
        """kill -9; leaves socket and pidfile behind, as a crash does."""
        process = self._running.pop(name)
        process.kill()
        process.wait()
        if name == "ovsdb-server":
            Path(self.socket).unlink(missing_ok=True)

    def freeze_vswitchd(self) -> None:
        self._running["ovs-vswitchd"].send_signal(signal.SIGSTOP)

    def thaw_vswitchd(self) -> None:
        self._running["ovs-vswitchd"].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()
        self._running.clear()

    def vsctl(self, *words: str) -> str:
        """What an administrator would type."""
        command = ["ovs-vsctl", f"--db=unix:{self.socket}", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=self._environment).stdout

    def appctl(self, *words: str) -> str:
        """The same of ovs-vswitchd's control socket."""
        command = ["ovs-appctl", "-t", "ovs-vswitchd", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=self._environment).stdout

    def add_machine(self, representor: str, netns: str, *, mac: str, address: str) -> None:
        """A namespace as the machine behind a representor; its end needs real checksums for the userspace datapath."""
        ip("-n", self.netns, "link", "add", representor, "type", "veth", "peer", "name", "eth0", "netns", netns)
        ip("-n", netns, "link", "set", "eth0", "address", mac, "up")
        ip("-n", netns, "addr", "add", address, "dev", "eth0")
        with inside(netns):
            disable_tx_checksum("eth0")
        ip("-n", self.netns, "link", "set", representor, "up")

    def _start(self, name: str, command: list[str]) -> None:
        with (self.directory / f"{name}.out").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [
                    "nsenter",
                    f"--net=/run/netns/{self.netns}",  # no mounts of its own, which would keep others' busy
                    *DIES_WITH_THE_TEST,
                    *command,
                    "--pidfile",
                    "-vconsole:off",
                    "--log-file",
                ],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def listens(path: str) -> bool:
    """Whether somebody takes connections there; a socket's file is there a moment before that."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


def _wait_for(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError("Open vSwitch did not start")
        time.sleep(0.01)
