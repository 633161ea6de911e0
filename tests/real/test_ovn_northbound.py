"""The writer of OVN's northbound database on a real OVN; packets judge, over Geneve and out of the gateway."""

import asyncio
import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from coordinator.core.machine.names import port_id
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from tests.fakes.netns import ip, netns
from tests.fakes.ovn import UNDERLAY_BRIDGE, OvnCentral, OvnChassis, join_underlay
from tests.fakes.ovn_plant import OvnPlant, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

MAC = "02:00:00:00:00:{:02x}"
MACHINE = "7c1c3c5e-0f1f-4a58-9d7b-0f8a4d2a9f01"
LEASE = """#!/bin/sh
[ "$1" = bound ] && echo "$ip/$mask router=$router dns=$dns mtu=$mtu lease=$lease domain=$domain" > {out}
exit 0
"""


@pytest.fixture
def central() -> Iterator[OvnCentral]:
    with tempfile.TemporaryDirectory(prefix="on-", dir="/tmp") as name:
        made = OvnCentral(Path(name))
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def chassis_of(central: OvnCentral, held: ExitStack, *, count: int) -> tuple[list[OvnChassis], str]:
    """Chassis that reach each other, and the namespace of the bridge that joins them."""
    found = []
    for number in range(count):
        folder = central.directory / f"d{number}"
        folder.mkdir()
        one = OvnChassis(folder, held.enter_context(netns(f"dpu{number}")), central, encap_ip=f"192.0.2.{number + 1}")
        held.callback(one.stop)
        one.start()
        found.append(one)
    fabric = held.enter_context(netns("fab"))
    join_underlay(found, fabric)
    return found, fabric


def plant_of(central: OvnCentral, *subnets: str, **network: object) -> OvnPlant:
    """A network ``pods`` with subnets 10.1.0.0/24, 10.2.0.0/24 ..."""
    plant = OvnPlant(central.northbound)
    plant.put(Kind.NETWORK, "pods", {"driver": "ovn", "mtu": 1400, **network})
    for number, name in enumerate(subnets, 1):
        spec = {"networkRef": {"name": "pods"}, "cidr": f"10.{number}.0.0/24", "gateway": f"10.{number}.0.1"}
        plant.put(Kind.SUBNET, name, {**spec, "cidrV6": f"fd00:{number}::/64", "gatewayV6": f"fd00:{number}::1"})
    return plant


def pod(held: ExitStack, chassis: OvnChassis, name: str, net: int, host: int) -> str:
    """A namespace behind the port of a pod, with its routes; returns its name."""
    there = held.enter_context(netns(name))
    addresses = (f"10.{net}.0.{host}/24", f"fd00:{net}::{host}/64")
    chassis.plug(f"ns.{name}", there, mac=MAC.format(net * 16 + host), addresses=addresses)
    ip("-n", there, "link", "set", "eth0", "mtu", "1400")
    ip("-n", there, "route", "add", "default", "via", f"10.{net}.0.1")
    ip("-n", there, "-6", "route", "add", "default", "via", f"fd00:{net}::1")
    return there


def pings(source: str, address: str) -> bool:
    command = ["ip", "netns", "exec", source, "ping", "-c1", "-W1", address]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def is_up(central: OvnCentral, name: str) -> bool:
    """Whether a chassis forwards for a logical port, as OVN says."""
    return central.nbctl("--if-exists", "get", "Logical_Switch_Port", name, "up").strip() == "true"


def node(plant: OvnPlant, name: str, chassis: str) -> None:
    plant.put(Kind.NETWORK_NODE, name, {"address": "192.0.2.9:7443", "nodeName": name, "chassis": chassis})


async def test_pods_of_two_chassis_reach_each_other_and_the_next_subnet_in_both_families(
    central: OvnCentral, held: ExitStack
) -> None:
    (first, second), _ = chassis_of(central, held, count=2)
    plant = plant_of(central, "one", "two")
    node(plant, "n1", first.name)
    node(plant, "n2", second.name)
    plant.port("a", "one", MAC.format(18), "10.1.0.2/24", "fd00:1::2/64", node="n1")
    plant.port("b", "one", MAC.format(19), "10.1.0.3/24", "fd00:1::3/64", node="n2")
    plant.port("c", "two", MAC.format(34), "10.2.0.2/24", "fd00:2::2/64", node="n2")
    async with plant.running():
        a = await asyncio.to_thread(pod, held, first, "a", 1, 2)
        await asyncio.to_thread(pod, held, second, "b", 1, 3)
        await asyncio.to_thread(pod, held, second, "c", 2, 2)
        for address in ("10.1.0.3", "fd00:1::3", "10.2.0.2", "fd00:2::2"):
            await until(lambda address=address: pings(a, address), f"an answer of {address}")  # type: ignore[misc]
        await until(lambda: is_up(central, "ns.a"), "the word that a forwards")
        assert "ns.a" in plant.heard


async def test_a_port_that_a_wrong_chassis_plugs_is_not_bound_there(central: OvnCentral, held: ExitStack) -> None:
    (first, second), _ = chassis_of(central, held, count=2)
    plant = plant_of(central, "one")
    node(plant, "n1", first.name)
    plant.port("a", "one", MAC.format(18), "10.1.0.2/24", node="n1")
    plant.port("b", "one", MAC.format(19), "10.1.0.3/24")
    async with plant.running():
        await asyncio.to_thread(pod, held, second, "a", 1, 2)
        await asyncio.to_thread(pod, held, second, "b", 1, 3)
        await until(lambda: is_up(central, "ns.b"), "the port that any chassis may have")
        assert not is_up(central, "ns.a")


async def test_a_container_whose_pod_is_gone_sends_and_receives_nothing(central: OvnCentral, held: ExitStack) -> None:
    (only,), _ = chassis_of(central, held, count=1)
    plant = plant_of(central, "one")
    plant.port("a", "one", MAC.format(18), "10.1.0.2/24")
    plant.port("b", "one", MAC.format(19), "10.1.0.3/24")
    async with plant.running():
        a = await asyncio.to_thread(pod, held, only, "a", 1, 2)
        b = await asyncio.to_thread(pod, held, only, "b", 1, 3)
        await until(lambda: pings(a, "10.1.0.3"), "an answer")
        plant.drop(Foreign.POD, "a", "ns")
        await until(lambda: not pings(a, "10.1.0.3") and not pings(b, "10.1.0.2"), "silence")
        assert is_up(central, "ns.a")


async def test_a_machine_is_told_its_address_by_dhcp(central: OvnCentral, held: ExitStack) -> None:
    (chassis,), _ = chassis_of(central, held, count=1)
    plant = OvnPlant(central.northbound)
    plant.put(Kind.NETWORK, "metal", {"driver": "ovn", "mtu": 1400})
    nic = port_id(MACHINE, "eth0")
    line = {"address": "10.3.0.7", "mac": MAC.format(7), "uid": MACHINE, "nic": "eth0"}
    spec = {
        "networkRef": {"name": "metal"},
        "cidr": "10.3.0.0/24",
        "gateway": "10.3.0.1",
        "dns": ["10.3.0.53"],
        "dhcp": {"leaseSeconds": 600, "domain": "pool.example"},
    }
    plant.put(Kind.SUBNET, "racks", spec, status={"allocations": [line]})
    plant.machine("m", MACHINE, [{"name": "eth0", "subnetRef": {"name": "racks"}}])
    there = held.enter_context(netns("metal"))
    script, out = central.directory / "lease.sh", central.directory / "lease"
    script.write_text(LEASE.format(out=out))
    script.chmod(0o755)
    client = ["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "20", "-T", "1", "-s", str(script)]
    options = ["-O", "mtu", "-O", "domain", "-O", "dns", "-O", "router"]
    async with plant.running():
        await asyncio.to_thread(chassis.plug, nic, there, mac=MAC.format(7), addresses=())
        asked = ["ip", "netns", "exec", there, *client, *options]
        await asyncio.to_thread(subprocess.run, asked, check=True, capture_output=True)
        said = out.read_text().strip()
        assert said == "10.3.0.7/24 router=10.3.0.1 dns=10.3.0.53 mtu=1400 lease=600 domain=pool.example"
        row = await asyncio.to_thread(
            central.nbctl, "--data=bare", "--no-headings", "find", "logical_switch_port", f"name={nic}"
        )
        assert MAC.format(7) in row


async def test_pods_leave_with_the_address_of_the_gateway(central: OvnCentral, held: ExitStack) -> None:
    (first, second), outside = chassis_of(central, held, count=2)
    for one in (first, second):
        await asyncio.to_thread(one.configure, f"physnet:{UNDERLAY_BRIDGE}")
    gateway = {
        "physicalNetwork": "physnet",
        "address": "198.51.100.2/24",
        "nextHop": "198.51.100.1",
        "nodes": ["n2", "n1"],
    }
    plant = plant_of(central, "one", gateway=gateway, egressNAT=True)
    node(plant, "n1", first.name)
    node(plant, "n2", second.name)
    plant.port("a", "one", MAC.format(18), "10.1.0.2/24", node="n1")
    ip("-n", outside, "addr", "add", "198.51.100.1/24", "dev", "br0")
    async with plant.running():
        a = await asyncio.to_thread(pod, held, first, "a", 1, 2)
        await until(lambda: pings(a, "198.51.100.1"), "an answer from outside")
        seen = await asyncio.to_thread(_sources, outside, a)
        assert seen == {"198.51.100.2"}


def _sources(outside: str, pod_netns: str) -> set[str]:
    """Who is seen to ask, outside, while a pod does."""
    listen = ["ip", "netns", "exec", outside, "python3", "-c", _SNIFF]
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as listening:
        assert listening.stdout is not None
        listening.stdout.readline()
        assert pings(pod_netns, "198.51.100.1")
        found = json.loads(listening.stdout.readline())
    return set(found)


_SNIFF = """
import json, socket
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.settimeout(10)
print("ready", flush=True)
while True:
    data, (source, _) = s.recvfrom(2000)
    if data[20] == 8:
        break
print(json.dumps([source]), flush=True)
"""


async def test_what_others_wrote_stays_and_what_they_took_from_us_comes_back(central: OvnCentral) -> None:
    central.nbctl("ls-add", "theirs", "--", "lsp-add", "theirs", "their-port")
    central.nbctl("lr-add", "their-router")
    plant = plant_of(central, "one")
    plant.port("a", "one", MAC.format(18), "10.1.0.2/24", bandwidth={"egressBps": 10_000_000})
    async with plant.running():
        await until(lambda: "ns.a" in _ports(central), "the port")
        central.nbctl("lsp-add", "subnet.one", "guest-port")
        whole = _rows(central)
        for damage in (
            ("lsp-del", "ns.a"),
            ("lsp-set-addresses", "ns.a", "unknown"),
            ("clear", "logical_switch_port", "ns.a", "port_security"),
            ("qos-del", "subnet.one"),
            ("lr-del", "network.pods"),
            ("--all", "destroy", "dhcp_options"),
        ):
            await asyncio.to_thread(central.nbctl, *damage)
            await until(lambda: _rows(central) == whole, f"all again after {damage}")
        plant.drop(Kind.PORT, "a", "ns")
        await until(lambda: "ns.a" not in _ports(central), "the end of the port")
        await until(lambda: plant.writer.rows_gone("ns.a"), "the word that it is gone")
        plant.drop(Kind.SUBNET, "one")
        plant.drop(Kind.NETWORK, "pods")
        await until(lambda: "subnet.one" not in central.nbctl("ls-list"), "the end of the switch")
    assert "their-port" in central.nbctl("lsp-list", "theirs")
    assert "their-router" in central.nbctl("lr-list")
    assert "network.pods" not in central.nbctl("lr-list")


async def test_a_foreign_row_of_the_same_name_stops_that_one_row_alone(central: OvnCentral) -> None:
    central.nbctl("ls-add", "theirs", "--", "lsp-add", "theirs", "ns.a")
    plant = plant_of(central, "one")
    plant.port("a", "one", MAC.format(18), "10.1.0.2/24")
    plant.port("b", "one", MAC.format(19), "10.1.0.3/24")
    async with plant.running():
        await until(lambda: "ns.b" in _ports(central), "the other port")
        assert "ns.a" in plant.writer.refusal("ns.a")
        central.nbctl("lsp-del", "ns.a")
        await until(lambda: "ns.a" in _ports(central), "the port, once its name is free")
        assert plant.writer.refusal("ns.a") == ""


async def test_traffic_does_not_notice_a_kill_of_the_database_nor_the_comparison_of_everything(
    central: OvnCentral, held: ExitStack
) -> None:
    (chassis,), _ = chassis_of(central, held, count=1)
    plant = plant_of(central, "one")
    plant.port("a", "one", MAC.format(18), "10.1.0.2/24")
    plant.port("b", "one", MAC.format(19), "10.1.0.3/24")
    async with plant.running():
        a = await asyncio.to_thread(pod, held, chassis, "a", 1, 2)
        await asyncio.to_thread(pod, held, chassis, "b", 1, 3)
        await until(lambda: pings(a, "10.1.0.3"), "a first answer")
        flood = ["ip", "netns", "exec", a, "ping", "-i", "0.02", "-W", "1", "10.1.0.3"]
        running = await asyncio.create_subprocess_exec(*flood, stdout=asyncio.subprocess.PIPE)
        before = _uuids(central)
        central.kill("nb")
        plant.port("c", "one", MAC.format(20), "10.1.0.4/24")
        plant.drop(Kind.PORT, "c", "ns")
        plant.port("d", "one", MAC.format(21), "10.1.0.5/24")
        await asyncio.sleep(0.5)
        await asyncio.to_thread(central.start_database, "nb")
        await until(lambda: "ns.d" in _ports(central), "what was wanted meanwhile")
        assert "ns.c" not in _ports(central)
        await asyncio.to_thread(central.nbctl, "--wait=hv", "sync")
        running.send_signal(signal.SIGINT)
        told, _ = await running.communicate()
        assert before.items() <= _uuids(central).items()
        sent, received = (int(word.split()[0]) for word in told.decode().rpartition("---")[2].split(",")[:2])
        assert sent - received <= 1, told  # the one under way when ping was ended


async def test_a_coordinator_that_starts_again_writes_nothing_that_is_there_already(central: OvnCentral) -> None:
    gateway = {"physicalNetwork": "physnet", "address": "198.51.100.2/24", "nextHop": "198.51.100.1"}
    known = []
    for life in range(2):
        plant = plant_of(central, "one", "two", gateway=gateway, egressNAT=True)
        node(plant, "n1", "chassis-1")
        limits = {"egressBps": 5_000_000, "egressBurstBits": 1_000_000}
        plant.port("a", "one", MAC.format(18), "10.1.0.2/24", "fd00:1::2/64", node="n1", bandwidth=limits)
        async with plant.running():
            await until(lambda plant=plant: plant.writer.rows_gone("none"), "the first comparison")  # type: ignore[misc]
            assert plant.writer.refused == {}
        known.append((_rows(central), _uuids(central)))
        committed = plant.writer._metrics.transactions.labels("committed")._value.get()
        assert committed == (0 if life else 1)
    assert known[0] == known[1]


def _rows(central: OvnCentral) -> str:
    """Everything that is in the database but for UUIDs and who refers to what."""
    columns = {
        "logical_switch": "name,other_config,external_ids",
        "logical_switch_port": "name,type,addresses,port_security,options,external_ids",
        "logical_router": "name,external_ids",
        "logical_router_port": "name,mac,networks,external_ids,ipv6_ra_configs",
        "qos": "match,bandwidth,direction,external_ids",
        "dhcp_options": "cidr,options,external_ids",
    }
    listed = [central.nbctl("-f", "csv", f"--columns={names}", "list", table) for table, names in columns.items()]
    return "\n".join(line for table in listed for line in sorted(table.splitlines()))


def _ports(central: OvnCentral) -> str:
    """Ports of the first subnet; nothing while it has no switch."""
    there = "subnet.one" in central.nbctl("ls-list")
    return central.nbctl("lsp-list", "subnet.one") if there else ""


def _uuids(central: OvnCentral) -> dict[str, str]:
    told = central.nbctl("-f", "csv", "--no-headings", "--columns=name,_uuid", "list", "logical_switch_port")
    return dict(line.rsplit(",", 1) for line in told.splitlines())
