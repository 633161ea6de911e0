"""OVN itself as the third judge: it accepts every match that is written, and ovn-trace says what passes."""

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from coordinator.core.net.policy.index import PolicyIndex
from coordinator.core.net.policy.model import OwnerKind
from coordinator.core.net.rows import Row, Table, ref
from coordinator.core.net.store import Owner, RowStore
from tests.fakes.ovn import OvnCentral
from tests.fakes.ovn_writer import OvnWriter
from tests.property.net.clusters import clusters, index, seen, telling
from tests.property.net.evaluator import Cluster, Packet

pytestmark = pytest.mark.real

SWITCH = "subnet.all"
OUTSIDE = "outside"
SAMPLE = 25
OWNERS = [kind.value for kind in OwnerKind]
KINDS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


class Judge:
    """A northbound database, northd, and one switch with every end of a cluster."""

    def __init__(self, central: OvnCentral) -> None:
        self._central = central
        self._store = RowStore()

    def learn(self, cluster: Cluster, built: PolicyIndex) -> None:
        wanted: dict[Owner, list[Row]] = {owner: built.rows(owner) for owner in built.owners()}
        wanted["switch", ""] = switch(cluster)
        gone = {("switch", "")} | {(kind, key) for kind in OWNERS for key in self._store.owners(kind)}
        asyncio.run(self._write({owner: wanted.get(owner, []) for owner in gone | wanted.keys()}))
        self._central.nbctl("--wait=sb", "sync")

    def passes(self, packet: Packet) -> bool:
        flow = " && ".join(microflow(packet))
        tracks = [word for _ in range(6) for word in ("--ct", "new")]
        command = ["ovn-trace", f"--db={self._central.southbound}", "--minimal", *tracks, SWITCH, flow]
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
        # It reads every flow first, and says so here when one cannot be parsed.
        assert said.stderr == ""
        return f'output("{port(packet, source=False)}")' in said.stdout

    async def _write(self, wanted: dict[Owner, list[Row]]) -> None:
        async with OvnWriter(self._central.northbound, self._store) as writer:
            await writer.write(wanted)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with tempfile.TemporaryDirectory(prefix="pt-", dir="/tmp") as folder:
        central = OvnCentral(Path(folder))
        try:
            central.start()
            yield Judge(central)
        finally:
            central.stop()


@settings(
    max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], derandomize=True
)
@given(cluster=clusters().filter(lambda cluster: bool(cluster.groups and cluster.policies)))
def test_ovn_trace_lets_through_what_the_api_says(judge: Judge, cluster: Cluster) -> None:
    judge.learn(cluster, index(cluster))
    for packet, passes in telling(cluster, SAMPLE):
        assert judge.passes(packet) == passes, packet


def switch(cluster: Cluster) -> list[Row]:
    names = [f"{end.namespace}.{end.name}" for end in cluster.ends]
    ports = [Row(Table.SWITCH_PORT, name, {"name": name, "addresses": frozenset({mac(name)})}) for name in names]
    ports.append(Row(Table.SWITCH_PORT, OUTSIDE, {"name": OUTSIDE, "addresses": frozenset({mac("")})}))
    held = frozenset(ref(Table.SWITCH_PORT, row.key) for row in ports)
    return [Row(Table.SWITCH, SWITCH, {"name": SWITCH, "ports": held}), *ports]


def mac(name: str) -> str:
    number = int(name.rpartition(".e")[2]) + 1 if name else 255
    return f"02:00:00:00:00:{number:02x}"


def port(packet: Packet, *, source: bool) -> str:
    small = seen(packet)
    return (small.inport if source else small.outport) or OUTSIDE


def microflow(packet: Packet) -> list[str]:
    version = 6 if ":" in packet.source_address else 4
    names = {end: "" if (name := port(packet, source=end)) == OUTSIDE else name for end in (True, False)}
    flow = [f'inport == "{port(packet, source=True)}"', "ip.ttl == 64"]
    flow += [f"eth.src == {mac(names[True])}", f"eth.dst == {mac(names[False])}"]
    flow += [f"ip{version}.src == {packet.source_address}", f"ip{version}.dst == {packet.target_address}"]
    if packet.protocol in KINDS:
        name = KINDS[packet.protocol]
        return [*flow, f"{name}.src == 40000", f"{name}.dst == {packet.port}"]
    if packet.protocol == "ICMP":
        return [*flow, f"icmp{version}.type == {8 if version == 4 else 128}", f"icmp{version}.code == 0"]
    return [*flow, "ip.proto == 47"]
