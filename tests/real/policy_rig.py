"""A small cluster on a real OVN: namespaces of the kernel as pods, one chassis, rows of the product's compilers."""

import asyncio
import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from coordinator.core.net.members import Member, member_of
from coordinator.core.net.policy.index import PolicyIndex
from coordinator.core.net.ports import pod_rows
from coordinator.core.net.rows import Row
from coordinator.core.net.segment import segment_of
from coordinator.core.net.services import service_rows
from coordinator.core.net.store import Owner, RowStore
from coordinator.core.net.topology import network_rows, subnet_rows
from coordinator.core.objects.net import Port, SecurityGroup
from coordinator.core.objects.network import Network, Subnet
from tests.fakes.netns import inside, ip, netns
from tests.fakes.ovn import OvnCentral, OvnChassis
from tests.fakes.ovn_writer import OvnWriter

Json = dict[str, Any]

NETWORK = "pods"
PATIENCE_S = 30.0
DROPPED_AFTER_S = 0.8
ECHO = b"hello"


class PolicyRig:
    """One chassis with pods.

    Attributes:
        index: of policies and groups.
        namespaces: of the kernel, by name of the pod.
        addresses: by name of the pod, of IPv4 and of IPv6.
    """

    def __init__(self, held: ExitStack) -> None:
        self._held = held
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="pp-", dir="/tmp")))
        self.central = OvnCentral(folder)
        held.callback(self.central.stop)
        self.central.start()
        (folder / "d").mkdir()
        self.chassis = OvnChassis(folder / "d", held.enter_context(netns("dpu")), self.central)
        held.callback(self.chassis.stop)
        self.chassis.start()
        self.index = PolicyIndex()
        self.namespaces: dict[str, str] = {}
        self.addresses: dict[str, tuple[str, str]] = {}
        self._store = RowStore()
        self._network = Network.parse({"metadata": {"name": NETWORK}, "spec": {"driver": "ovn"}})
        self._subnets = [self._subnet("front", "10.8.1"), self._subnet("back", "10.8.2")]
        wanted: dict[Owner, list[Row]] = {("network", NETWORK): network_rows(self._network, {})}
        for subnet in self._subnets:
            segment = segment_of(subnet, self._network)
            assert segment is not None
            wanted["subnet", subnet.metadata.name] = subnet_rows(segment)
        self.write(wanted)

    def add_pod(self, name: str, subnet: str, labels: dict[str, str], ports: list[Json], namespace: str) -> None:
        """A pod of ``NAMESPACE/NAME`` with a port of its own, ready to be talked to."""
        chosen = next(one for one in self._subnets if one.metadata.name == subnet)
        segment = segment_of(chosen, self._network)
        assert segment is not None
        number = len(self.namespaces) + 10
        base, base_v6 = chosen.spec.cidr.rpartition(".")[0], chosen.spec.cidr_v6.partition("::")[0]
        cidrs = (f"{base}.{number}/24", f"{base_v6}::{number:x}/64")
        mac = f"02:00:00:00:01:{number:02x}"
        port, pod = port_and_pod(name, namespace, labels, ports, mac, cidrs, chosen)
        self.write({("port", port.metadata.key): pod_rows(port, segment, "")})
        where = self._held.enter_context(netns(name))
        self.chassis.plug(port.port_id, where, mac=mac, addresses=cidrs)
        for gateway in segment.gateways:
            route(where, str(gateway.ip))
        self.namespaces[name] = where
        self.addresses[name] = (cidrs[0].partition("/")[0], cidrs[1].partition("/")[0])
        member = member_of(port, pod)
        assert isinstance(member, Member)
        self.touch(self.index.set_member(member))

    def touch(self, owners: set[Owner]) -> None:
        """Write what owners now want, and wait until the chassis has it."""
        self.write({owner: self.index.rows(owner) for owner in owners})
        self.settle()

    def policy(self, name: str, namespace: str, **spec: Any) -> None:
        self.touch(self.index.set_policy({"metadata": {"name": name, "namespace": namespace}, "spec": spec}))

    def group(self, name: str, namespace: str, **spec: Any) -> None:
        group = {"metadata": {"name": name, "namespace": namespace}, "spec": spec}
        self.touch(self.index.set_group(SecurityGroup.parse(group)))

    def service(self, service: Json, slices: list[Json]) -> None:
        metadata = service["metadata"]
        found = service_rows(service, slices, [subnet.metadata.name for subnet in self._subnets])
        assert not found.faults
        self.write({("service", f"{metadata['namespace']}/{metadata['name']}"): found.rows})
        self.settle()

    @contextlib.contextmanager
    def fresh(self) -> Iterator[None]:
        """What a test has in force, and what it does to the pods' rows, ends with it."""
        try:
            yield
        finally:
            owners: set[Owner] = set()
            for kind, key in self.index.owners():
                if kind == "policy":
                    owners |= self.index.drop_policy(key)
                if kind == "group":
                    owners |= self.index.drop_group(key)
            services = {("service", key): list[Row]() for key in self._store.owners("service")}
            self.write(services | {owner: self.index.rows(owner) for owner in owners})
            self.settle()

    def write(self, wanted: dict[Owner, list[Row]]) -> None:
        asyncio.run(self._write(wanted))

    def settle(self) -> None:
        self.central.nbctl("--wait=hv", "sync")

    async def _write(self, wanted: dict[Owner, list[Row]]) -> None:
        async with OvnWriter(self.central.northbound, self._store) as writer:
            await writer.write(wanted)

    def _subnet(self, name: str, base: str) -> Subnet:
        third = base.rpartition(".")[2]
        spec = {"networkRef": {"name": NETWORK}, "cidr": f"{base}.0/24", "gateway": f"{base}.1"}
        dual = {"cidrV6": f"fd08:{third}::/64", "gatewayV6": f"fd08:{third}::1"}
        return Subnet.parse({"metadata": {"name": name}, "spec": spec | dual})

    # What packets do.

    def tcp(self, source: str, address: str, port: int, *, passes: bool) -> bool:
        """Whether a connection does what is expected: an echo comes back, or nothing does in time."""
        timeout_s = PATIENCE_S if passes else DROPPED_AFTER_S
        try:
            with inside(self.namespaces[source]):
                opened = socket.create_connection((address, port), timeout=timeout_s)
        except TimeoutError:
            return not passes
        with opened:
            return passes and said_back(opened)

    def refused(self, source: str, address: str, port: int) -> bool:
        """Whether a connection is refused, at once and not by silence."""
        try:
            with inside(self.namespaces[source]):
                socket.create_connection((address, port), timeout=PATIENCE_S).close()
        except ConnectionRefusedError:
            return True
        return False

    def udp(self, source: str, address: str, port: int, *, passes: bool) -> bool:
        """As `tcp`; a datagram that was lost for another reason is sent again."""
        with self.datagrams(source, address, port) as sender:
            sender.settimeout(DROPPED_AFTER_S)
            for _ in range(10 if passes else 1):
                sender.send(ECHO)
                with contextlib.suppress(TimeoutError):
                    return sender.recv(64).startswith(ECHO) and passes
        return not passes

    def who_answers(self, sender: socket.socket) -> str:
        """Name of the pod that a connected UDP socket's datagrams come to."""
        sender.settimeout(DROPPED_AFTER_S)
        for _ in range(10):
            sender.send(ECHO)
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                return sender.recv(64).removeprefix(ECHO).decode()
        return ""

    def datagrams(self, source: str, address: str, port: int) -> socket.socket:
        """A UDP socket that keeps its own port."""
        with inside(self.namespaces[source]):
            sender = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        sender.connect((address, port))
        return sender

    def raw(self, source: str, target: str, protocol: int, *, passes: bool) -> bool:
        """Whether packets of a protocol that has no ports arrive, or none does."""
        with inside(self.namespaces[target]):
            receiver = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
        with inside(self.namespaces[source]):
            sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
        with receiver, sender:
            receiver.settimeout(DROPPED_AFTER_S)
            for _ in range(10 if passes else 1):
                sender.sendto(ECHO, (self.addresses[target][0], 0))
                with contextlib.suppress(TimeoutError):
                    return ECHO in receiver.recv(128) and passes
        return not passes

    def serve(self, pod: str, *ports: int) -> None:
        """Echo of TCP and UDP in both families, for as long as the rig lives."""
        for port in ports:
            with inside(self.namespaces[pod]):
                listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
                datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
                datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                datagrams.bind(("", port))
            threading.Thread(target=accept, args=(listener,), daemon=True).start()
            threading.Thread(target=answer, args=(datagrams, pod), daemon=True).start()
            for server in (listener, datagrams):
                self._held.callback(server.close)
                self._held.callback(stop, server)


def said_back(opened: socket.socket) -> bool:
    """Whether what is sent comes back."""
    opened.sendall(ECHO)
    return opened.recv(64) == ECHO


def accept(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            opened, _ = listener.accept()
            threading.Thread(target=echo, args=(opened,), daemon=True).start()


def echo(opened: socket.socket) -> None:
    with opened, contextlib.suppress(OSError):
        while found := opened.recv(64):
            opened.sendall(found)


def answer(datagrams: socket.socket, pod: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            found, sender = datagrams.recvfrom(64)
            if not found:
                return
            datagrams.sendto(found + pod.encode(), sender)


def stop(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)


def route(namespace: str, gateway: str) -> None:
    ip("-n", namespace, "-6" if ":" in gateway else "-4", "route", "add", "default", "via", gateway)


def port_and_pod(
    name: str,
    namespace: str,
    labels: dict[str, str],
    ports: list[Json],
    mac: str,
    cidrs: tuple[str, ...],
    subnet: Subnet,
) -> tuple[Port, Json]:
    metadata = {"name": name, "namespace": namespace}
    groups = [group for group in (labels.pop("groups", ""),) if group]
    spec = {
        "podRef": {"name": name, "uid": f"uid-{name}"},
        "node": "n1",
        "networkRef": {"name": NETWORK},
        "subnetRef": {"name": subnet.metadata.name},
        "mac": mac,
        "addresses": [{"cidr": cidr} for cidr in cidrs],
        "defaultNetwork": True,
        "securityGroups": groups,
    }
    pod = {"metadata": metadata | {"uid": f"uid-{name}", "labels": labels}, "spec": {"containers": [{"ports": ports}]}}
    return Port.parse({"metadata": metadata, "spec": spec}), pod
