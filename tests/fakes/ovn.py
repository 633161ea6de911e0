"""A real OVN: central databases and northd in a directory, chassis in network namespaces of their own."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from dpu_daemon.drivers.ethernet import disable_tx_checksum
from tests.fakes.netns import inside, ip
from tests.fakes.ovs import OvsStack, listens
from tests.fakes.qsd import DIES_WITH_THE_TEST

SCHEMAS = Path("/usr/share/ovn")
START_TIMEOUT_S = 60.0
BRIDGE = "br-int"
UNDERLAY_BRIDGE = "br-phy"
FOLDERS = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "OVN_RUNDIR", "OVN_LOGDIR", "OVN_DBDIR")


class OvnCentral:
    """Northbound and southbound databases and ovn-northd as children of the test.

    Args:
        directory: for databases, sockets and logs; short, for Unix sockets.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._processes = _Processes(directory)

    @property
    def northbound(self) -> str:
        return f"unix:{self.directory / 'nb.sock'}"

    @property
    def southbound(self) -> str:
        return f"unix:{self.directory / 'sb.sock'}"

    def start(self) -> None:
        for name in ("nb", "sb"):
            schema = SCHEMAS / f"ovn-{name}.ovsschema"
            subprocess.run(["ovsdb-tool", "create", str(self.directory / f"{name}.db"), str(schema)], check=True)
            self.start_database(name)
        self.start_northd()
        self.nbctl("init")

    def start_database(self, name: str) -> None:
        """`name` is ``nb`` or ``sb``."""
        socket = str(self.directory / f"{name}.sock")
        self._processes.start(
            name,
            "ovsdb-server",
            str(self.directory / f"{name}.db"),
            f"--remote=punix:{socket}",
            f"--pidfile={self.directory / name}.pid",
            f"--unixctl={self.directory / name}.ctl",
        )
        wait_until(lambda: listens(socket), f"{name} database")

    def start_northd(self) -> None:
        control = self.directory / "northd.ctl"
        self._processes.start(
            "northd",
            "ovn-northd",
            f"--ovnnb-db={self.northbound}",
            f"--ovnsb-db={self.southbound}",
            f"--pidfile={self.directory / 'northd.pid'}",
            f"--unixctl={control}",
        )
        wait_until(control.is_socket, "ovn-northd")

    def kill(self, name: str) -> None:
        """kill -9 of ``nb``, ``sb`` or ``northd``."""
        self._processes.kill(name)
        for end in ("sock", "ctl", "pid"):
            (self.directory / f"{name}.{end}").unlink(missing_ok=True)

    def stop(self) -> None:
        self._processes.stop()

    def nbctl(self, *words: str) -> str:
        return _run("ovn-nbctl", f"--db={self.northbound}", *words)

    def sbctl(self, *words: str) -> str:
        return _run("ovn-sbctl", f"--db={self.southbound}", *words)

    def trace(self, *words: str) -> str:
        return _run("ovn-trace", f"--db={self.southbound}", *words)


class OvnChassis:
    """Open vSwitch with the userspace datapath and ovn-controller, in a namespace that plays a DPU or a node.

    Args:
        directory: of its own; short.
        netns: namespace to run in.
        central: whose southbound database it follows.
        encap_ip: of this chassis on the underlay.
        configure: write br-int and the chassis' settings; False leaves that to a daemon.
    """

    def __init__(
        self, directory: Path, netns: str, central: OvnCentral, *, encap_ip: str = "127.0.0.1", configure: bool = True
    ) -> None:
        self.directory, self.netns, self.central, self.encap_ip = directory, netns, central, encap_ip
        self.name = netns
        self.ovs = OvsStack(directory, netns)
        self._configure = configure
        self._processes = _Processes(directory, netns)

    def start(self) -> None:
        self.ovs.start()
        if self._configure:
            self.configure()
        self.start_controller()

    def configure(self, mappings: str = "") -> None:
        """What a daemon with [ovn] keeps in the database."""
        settings = {
            "ovn-remote": self.central.southbound,
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": self.encap_ip,
            "ovn-bridge-datapath-type": "netdev",
            "system-id": self.name,
        }
        if mappings:
            settings["ovn-bridge-mappings"] = mappings
        words = [f'external_ids:{key}="{value}"' for key, value in settings.items()]
        bridge = ("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev", "fail-mode=secure")
        self.ovs.vsctl("set", "Open_vSwitch", ".", *words, "--", "--may-exist", *bridge)

    def start_controller(self) -> None:
        pidfile = self.directory / "ovn-controller.pid"  # its control socket has the process id in its name
        words = ("ovn-controller", f"unix:{self.ovs.socket}", f"--pidfile={pidfile}")
        self._processes.start("ovn-controller", *words)
        wait_until(pidfile.exists, "ovn-controller")

    def kill_controller(self) -> None:
        """kill -9."""
        self._processes.kill("ovn-controller")
        (self.directory / "ovn-controller.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        self._processes.stop()
        self.ovs.stop()

    def plug(self, port_id: str, netns: str, *, mac: str, addresses: tuple[str, ...], netdev: str = "eth0") -> str:
        """A namespace behind a logical port, without any daemon; returns the representor."""
        representor = f"r{len(self.ovs.vsctl('list-ports', BRIDGE).split())}-{os.getpid() % 10000}"
        pair = ("type", "veth", "peer", "name", netdev, "address", mac, "netns", netns)
        ip("-n", self.netns, "link", "add", representor, *pair)
        with inside(netns):
            disable_tx_checksum(netdev)
        ip("-n", netns, "link", "set", netdev, "up")
        for address in addresses:
            ip("-n", netns, "addr", "add", address, "dev", netdev, *(("nodad",) if ":" in address else ()))
        ip("-n", self.netns, "link", "set", representor, "up")
        interface = ("set", "interface", representor, f"external_ids:iface-id={port_id}")
        self.ovs.vsctl("add-port", BRIDGE, representor, "--", *interface)
        return representor


def join_underlay(chassis: list[OvnChassis], fabric: str) -> None:
    """Connect chassis by a Linux bridge in the namespace `fabric`; each has its encap IP on a bridge of its own OVS."""
    ip("-n", fabric, "link", "add", "br0", "type", "bridge")
    ip("-n", fabric, "link", "set", "br0", "up")
    for number, one in enumerate(chassis):
        ip("-n", fabric, "link", "add", f"u{number}", "type", "veth", "peer", "name", "p0", "netns", one.netns)
        ip("-n", fabric, "link", "set", f"u{number}", "master", "br0", "up")
        with inside(fabric):
            disable_tx_checksum(f"u{number}")
        bridge = (
            "--may-exist",
            "add-br",
            UNDERLAY_BRIDGE,
            "--",
            "set",
            "bridge",
            UNDERLAY_BRIDGE,
            "datapath_type=netdev",
        )
        one.ovs.vsctl(*bridge, "--", "--may-exist", "add-port", UNDERLAY_BRIDGE, "p0")
        with inside(one.netns):
            disable_tx_checksum("p0")
            disable_tx_checksum(UNDERLAY_BRIDGE)
        ip("-n", one.netns, "link", "set", "p0", "up")
        ip("-n", one.netns, "addr", "add", f"{one.encap_ip}/24", "dev", UNDERLAY_BRIDGE)
        ip("-n", one.netns, "link", "set", UNDERLAY_BRIDGE, "up")


class _Processes:
    def __init__(self, directory: Path, netns: str = "") -> None:
        self._directory = directory
        # ip netns exec would keep a copy of all mounts of this moment, and with it file systems of other tests busy.
        self._enter = ("nsenter", f"--net=/run/netns/{netns}") if netns else ()
        self._environment = {**os.environ, **dict.fromkeys(FOLDERS, str(directory))}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str) -> None:
        words = [*self._enter, *DIES_WITH_THE_TEST, *command, "-vconsole:off", "-vsyslog:off"]
        log = f"--log-file={self._directory / name}.log"
        with (self._directory / f"{name}.out").open("ab") as out:
            self._running[name] = subprocess.Popen(
                [*words, log], env=self._environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()
        self._running.clear()


def wait_until(there: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come in {timeout_s:g} s")
        time.sleep(0.01)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
