"""Services whose traffic stays on its node, on a real OVN with two chassis; packets judge."""

import asyncio
import contextlib
import json
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from tests.fakes.netns import inside
from tests.fakes.ovn import SCHEMAS, OvnCentral, OvnChassis
from tests.fakes.ovn_plant import OvnPlant, until
from tests.real.test_ovn_northbound import MAC, chassis_of, plant_of, pod

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

VIPS = ("10.96.0.1", "fd96::1")
EXTERNAL = "192.0.2.80"
PATIENCE_S = 3.0
HOSTS = {"client-1": 2, "web-1": 3, "web-2": 4, "client-2": 5}
REFUSED = "refused"


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def folder(held: ExitStack) -> Path:
    return Path(held.enter_context(tempfile.TemporaryDirectory(prefix="lt-", dir="/tmp")))


class Web:
    """Two nodes, on each a client and an endpoint that says its name."""

    def __init__(self, plant: OvnPlant, chassis: list[OvnChassis], held: ExitStack) -> None:
        self.plant, self._held = plant, held
        for name, number in HOSTS.items():
            addresses = (f"10.1.0.{number}/24", f"fd00:1::{number}/64")
            plant.port(name, "one", MAC.format(16 + number), *addresses, node=f"n{name[-1]}")
        self._chassis = chassis
        self._services = 0
        self._spaces: dict[str, str] = {}
        self._lives = 0
        self.nodes()

    def nodes(self) -> None:
        """NetworkNodes, as new ones."""
        self._lives += 1
        for number, one in enumerate(self._chassis, 1):
            spec = {"address": "192.0.2.9:7443", "nodeName": f"n{number}", "chassis": one.name}
            self.plant.put(Kind.NETWORK_NODE, f"n{number}", spec, metadata={"uid": f"n{number}-{self._lives}"})

    def plug(self) -> None:
        for name, number in HOSTS.items():
            self._spaces[name] = pod(self._held, self._chassis[int(name[-1]) - 1], name, 1, number)
        for name in ("web-1", "web-2"):
            self._serve(name)

    def endpoints(self, *names: str) -> None:
        """These are ready."""
        for kind, base in (("IPv4", "10.1.0."), ("IPv6", "fd00:1::")):
            listed = [{"addresses": [f"{base}{HOSTS[name]}"], "nodeName": f"n{name[-1]}"} for name in names]
            ports = [{"name": "tcp", "port": 8080}, {"name": "udp", "port": 8080, "protocol": "UDP"}]
            body = {"addressType": kind, "endpoints": listed, "ports": ports}
            metadata = {"labels": {"kubernetes.io/service-name": "web"}}
            self.plant.put(Foreign.ENDPOINT_SLICE, f"web-{kind.lower()}", {}, namespace="ns", metadata=metadata, **body)

    def service(self, **more: Any) -> None:
        ports = [{"name": "tcp", "port": 80}, {"name": "udp", "port": 53, "protocol": "UDP"}]
        spec = {"clusterIPs": list(VIPS), "externalIPs": [EXTERNAL], "ports": ports, "internalTrafficPolicy": "Local"}
        self._services += 1
        metadata = {"uid": f"web-{self._services}"}
        self.plant.put(Foreign.SERVICE, "web", spec | more, namespace="ns", metadata=metadata)

    def tcp(self, source: str, address: str) -> str:
        """Who answers; how it fails otherwise."""
        try:
            with inside(self._spaces[source]):
                opened = socket.create_connection((address, 80), timeout=PATIENCE_S)
            with opened:
                return opened.recv(64).decode()
        except ConnectionRefusedError:
            return REFUSED
        except OSError as error:
            return type(error).__name__

    def udp(self, source: str, address: str) -> socket.socket:
        """A socket that keeps its own port."""
        with inside(self._spaces[source]):
            opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self._held.callback(opened.close)
        opened.connect((address, 53))
        opened.settimeout(PATIENCE_S)
        return opened

    def all_tcp(self, source: str) -> set[str]:
        """Who answers several connections to the cluster IPs, of both families."""
        return {self.tcp(source, address) for address in VIPS * 4}

    def _serve(self, name: str) -> None:
        with inside(self._spaces[name]):
            listener = socket.create_server(("", 8080), family=socket.AF_INET6, dualstack_ipv6=True)
            datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            datagrams.bind(("", 8080))
        for server, task in ((listener, _say_name), (datagrams, _answer_name)):
            threading.Thread(target=task, args=(server, name), daemon=True).start()
            self._held.callback(server.close)
            self._held.callback(_stop, server)


def _stop(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)


def _say_name(listener: socket.socket, name: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            opened, _ = listener.accept()
            with opened:
                opened.sendall(name.encode())


def _answer_name(datagrams: socket.socket, name: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            found, sender = datagrams.recvfrom(64)
            if not found:
                return
            datagrams.sendto(name.encode(), sender)


def said(sender: socket.socket) -> str:
    """Who answers a datagram; one that is lost while OVN changes is sent again."""
    for _ in range(3):
        try:
            sender.send(b"who")
            return sender.recv(64).decode()
        except ConnectionRefusedError:
            return REFUSED
        except TimeoutError:
            continue
    return "nobody"


def variables(central: OvnCentral) -> list[str]:
    """What the chassis' rows hold, one text for each that holds something."""
    found = central.nbctl("--bare", "--columns=variables", "list", "Chassis_Template_Var")
    return list(filter(None, found.splitlines()))


def balancers(central: OvnCentral) -> str:
    return central.nbctl("--bare", "--columns=name,vips", "list", "Load_Balancer")


async def settled(central: OvnCentral, there: Callable[[], bool], what: str) -> None:
    await until(there, what)
    await asyncio.to_thread(central.nbctl, "--wait=hv", "--timeout=20", "sync")


async def test_traffic_to_a_cluster_ip_stays_on_its_node(folder: Path, held: ExitStack) -> None:
    central = OvnCentral(folder)
    held.callback(central.stop)
    central.start()
    chassis, _ = chassis_of(central, held, count=2)
    plant = plant_of(central, "one")
    web = Web(plant, chassis, held)
    web.service()
    web.endpoints("web-1", "web-2")
    async with plant.running():
        await asyncio.to_thread(web.plug)
        await settled(central, lambda: "10.1.0.4:8080" in "".join(variables(central)), "the variables")
        await until(lambda: web.tcp("client-1", EXTERNAL) == "web-2", "the other node's endpoint at another address")
        for source, own in (("client-1", "web-1"), ("client-2", "web-2"), ("web-1", "web-1"), ("web-2", "web-2")):
            assert await asyncio.to_thread(web.all_tcp, source) == {own}
        senders = [await asyncio.to_thread(web.udp, "client-1", address) for address in VIPS]
        assert [await asyncio.to_thread(said, one) for one in senders] == ["web-1", "web-1"]

        web.endpoints("web-2")
        await settled(central, lambda: "10.1.0.3:8080" not in "".join(variables(central)), "the end of an endpoint")
        for source in ("client-1", "web-1"):
            assert await asyncio.to_thread(web.all_tcp, source) == {REFUSED}
        assert [await asyncio.to_thread(said, one) for one in senders] == [REFUSED, REFUSED]
        assert await asyncio.to_thread(web.all_tcp, "client-2") == {"web-2"}
        assert await asyncio.to_thread(web.tcp, "client-1", EXTERNAL) == "web-2"

        web.endpoints("web-1", "web-2")
        await settled(central, lambda: "10.1.0.3:8080" in "".join(variables(central)), "the endpoint again")
        assert await asyncio.to_thread(web.all_tcp, "client-1") == {"web-1"}
        assert [await asyncio.to_thread(said, one) for one in senders] == ["web-1", "web-1"]
        assert await asyncio.to_thread(web.all_tcp, "client-2") == {"web-2"}

        web.service(internalTrafficPolicy="Cluster")
        await settled(central, lambda: not variables(central), "the end of the variables")
        await until(lambda: web.all_tcp("client-1") == {"web-1", "web-2"}, "all endpoints")


async def test_rows_of_chassis_come_and_go_with_others_left_alone_and_no_controller_ends(
    folder: Path, held: ExitStack
) -> None:
    central = OvnCentral(folder)
    held.callback(central.stop)
    central.start()
    central.nbctl("create", "Chassis_Template_Var", "chassis=theirs", "variables={x=y}")
    chassis, _ = chassis_of(central, held, count=2)
    plant = plant_of(central, "one")
    web = Web(plant, chassis, held)
    web.service()
    web.endpoints("web-1", "web-2")
    async with plant.running():
        await asyncio.to_thread(web.plug)
        await settled(central, lambda: len(variables(central)) == 3, "the variables")
        for _ in range(2):
            plant.drop(Foreign.SERVICE, "web", "ns")
            await settled(central, lambda: variables(central) == ["x=y"], "the end of all variables")
            for number in (1, 2):
                plant.drop(Kind.NETWORK_NODE, f"n{number}")
            plant.writer._full = True
            plant.writer.queue.wake.set()
            await settled(central, lambda: _chassis(central) == {"theirs"}, "the end of the rows")
            web.service()
            await settled(central, lambda: "local4" in balancers(central), "the load balancers again")
            assert await asyncio.to_thread(web.all_tcp, "client-1") == {REFUSED}
            web.nodes()
            await settled(central, lambda: len(variables(central)) == 3, "the rows again")
            await until(lambda: web.all_tcp("client-1") == {"web-1"}, "the endpoint of the node")
        await asyncio.to_thread(central.nbctl, "clear", "Chassis_Template_Var", _row(central, chassis[0]), "variables")
        await settled(central, lambda: "10.1.0.3:8080" in "".join(variables(central)), "what somebody took")
        assert await asyncio.to_thread(web.all_tcp, "client-1") == {"web-1"}
    known = sorted(variables(central))
    plant = plant_of(central, "one")
    again = Web(plant, chassis, held)
    again.service()
    again.endpoints("web-1", "web-2")
    async with plant.running():
        await until(lambda: plant.writer.rows_gone("none"), "the first comparison")
        assert plant.writer._metrics.transactions.labels("committed")._value.get() == 0
    assert sorted(variables(central)) == known


def _chassis(central: OvnCentral) -> set[str]:
    return set(central.nbctl("--bare", "--columns=chassis", "list", "Chassis_Template_Var").split())


def _row(central: OvnCentral, chassis: OvnChassis) -> str:
    named = f"chassis={chassis.name}"
    return central.nbctl("--bare", "--columns=_uuid", "find", "Chassis_Template_Var", named).strip()


async def test_a_database_without_templates_serves_from_all_nodes_and_that_is_told(
    folder: Path, held: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = json.loads((SCHEMAS / "ovn-nb.ovsschema").read_text())
    del schema["tables"]["Chassis_Template_Var"]
    (folder / "old").write_text(json.dumps(schema))
    made = ["ovsdb-tool", "create", str(folder / "nb.db"), str(folder / "old")]
    await asyncio.to_thread(subprocess.run, made, check=True)
    central = OvnCentral(folder)
    held.callback(central.stop)
    central.start_database("nb")
    plant = plant_of(central, "one")
    told: list[str] = []
    monkeypatch.setattr(
        plant.ovn.feed._complaints, "service", lambda _service, faults, _refused: told.extend(map(str, faults))
    )
    web = Web(plant, [], held)
    web.service(externalIPs=[])
    web.endpoints("web-1", "web-2")
    async with plant.running():
        await until(lambda: plant.writer.rows_gone("none"), "the first comparison")
        found = balancers(central)
        refused = plant.writer._metrics.transactions.labels("refused")._value.get()
    assert refused == 0
    assert "10.96.0.1:80=10.1.0.3:8080,10.1.0.4:8080" in found
    assert "ns/web.tcp" in found
    assert "local" not in found
    assert any("spec.internalTrafficPolicy" in one and "endpoints of all nodes" in one for one in told)
