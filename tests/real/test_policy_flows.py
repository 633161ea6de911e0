"""The OpenFlow that ovn-controller makes of compiled policies, judged packet by packet against the API's words.

ovn-trace judges what was written; this judges what is left of it in the switch, where masks and sets may be lost.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from coordinator.core.net.policy.index import PolicyIndex
from tests.fakes.netns import netns
from tests.fakes.ovn import BRIDGE, OvnCentral, OvnChassis, wait_until
from tests.property.net.clusters import clusters, index, telling
from tests.property.net.evaluator import Cluster, Packet
from tests.real.test_policy_traces import KINDS, OUTSIDE, Judge, mac, port

pytestmark = pytest.mark.real

ENDS = 6
SAMPLE = 40
NUMBERS = {"ICMP": {4: 1, 6: 58}, "GRE": {4: 47, 6: 47}}


class FlowJudge:
    """One chassis whose switch has a port for every end that a cluster may have."""

    def __init__(self, central: OvnCentral, chassis: OvnChassis) -> None:
        self._judge = Judge(central)
        self._central, self._chassis = central, chassis
        self._numbers: dict[str, str] = {}
        for name in [f"e{number}" for number in range(ENDS)] + [OUTSIDE]:
            chassis.ovs.vsctl("add-port", BRIDGE, name, "--", "set", "interface", name, "type=internal")

    def learn(self, cluster: Cluster, built: PolicyIndex) -> None:
        names = {end.name: f"{end.namespace}.{end.name}" for end in cluster.ends} | {OUTSIDE: OUTSIDE}
        words: list[str] = []
        for name in [f"e{number}" for number in range(ENDS)] + [OUTSIDE]:
            words += ["--", "set", "interface", name, f"external_ids:iface-id={names.get(name, 'none.' + name)}"]
        self._chassis.ovs.vsctl(*words)
        self._judge.learn(cluster, built)
        wait_until(lambda: all(self._is_up(name) for name in names.values()), "all ports")
        self._central.nbctl("--wait=hv", "sync")
        for name, logical in names.items():
            self._numbers[logical] = self._chassis.ovs.vsctl("get", "interface", name, "ofport").strip()

    def passes(self, packet: Packet) -> bool:
        (control,) = self._chassis.directory.glob("ovs-vswitchd.*.ctl")
        command = ["ovs-appctl", "-t", str(control), "ofproto/trace", BRIDGE, self._flow(packet)]
        said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
        assert said.returncode == 0, said.stderr
        return f"output:{self._numbers[port(packet, source=False)]}\n" in said.stdout

    def _is_up(self, logical: str) -> bool:
        return self._central.nbctl("lsp-get-up", logical).strip() == "up"

    def _flow(self, packet: Packet) -> str:
        version = 6 if ":" in packet.source_address else 4
        names = {end: "" if (name := port(packet, source=end)) == OUTSIDE else name for end in (True, False)}
        field = "nw" if version == 4 else "ipv6"
        flow = [f"in_port={self._numbers[port(packet, source=True)]}", f"dl_src={mac(names[True])}"]
        flow += [f"dl_dst={mac(names[False])}", f"{field}_src={packet.source_address}"]
        flow += [f"{field}_dst={packet.target_address}", "nw_ttl=64"]
        if packet.protocol in KINDS:
            name = KINDS[packet.protocol]
            kind = name + ("6" if version == 6 else "")
            return ",".join([kind, *flow, f"{name}_src=40000", f"{name}_dst={packet.port}"])
        kind, number = ("ipv6" if version == 6 else "ip"), NUMBERS[packet.protocol][version]
        icmp = (
            [f"icmp{'v6' if version == 6 else ''}_type={128 if version == 6 else 8}"]
            if packet.protocol == "ICMP"
            else []
        )
        return ",".join([kind, f"nw_proto={number}", *flow, *icmp])


@pytest.fixture(scope="module")
def judge() -> Iterator[FlowJudge]:
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="pf-", dir="/tmp")))
        central = OvnCentral(folder)
        held.callback(central.stop)
        central.start()
        (folder / "d").mkdir()
        chassis = OvnChassis(folder / "d", held.enter_context(netns("dpu")), central)
        held.callback(chassis.stop)
        chassis.start()
        yield FlowJudge(central, chassis)
        assert "error parsing" not in (chassis.directory / "ovn-controller.log").read_text()


@settings(
    max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], derandomize=True
)
@given(cluster=clusters().filter(lambda cluster: bool(cluster.groups and cluster.policies)))
def test_flows_let_through_what_the_api_says(judge: FlowJudge, cluster: Cluster) -> None:
    judge.learn(cluster, index(cluster))
    for packet, passes in telling(cluster, SAMPLE):
        assert judge.passes(packet) == passes, packet
