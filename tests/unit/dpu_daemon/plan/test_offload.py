"""Where flows are forwarded and why: what real flows mean on ports that can do more or less."""

from typing import Any

import pytest

from dpu_daemon.model.offload import (
    Feature,
    FlowSeen,
    Layer,
    Mark,
    OffloadReport,
    OffloadSeen,
    PortSeen,
    Verdict,
    Way,
    Why,
)
from dpu_daemon.plan.offload import decide, why_flow
from dpu_daemon.plan.offload_tally import Tally
from dpu_daemon.plan.offload_words import brief

ABLE = PortSeen(netdev="rep0", port_id="default.web", driver="mlx5e_rep", feature=Feature.ON, taps=True)
OFF = PortSeen(netdev="rep1", driver="mlx5e_rep", feature=Feature.OFF, taps=True)
VETH = PortSeen(netdev="veth0", driver="veth", feature=Feature.FIXED, taps=True)
OWN = PortSeen(netdev="br-int", kind="internal")


def flow(in_port: str = "rep0", *, match: str = "recirc_id(0),", actions: str = "rep1", **more: Any) -> FlowSeen:
    fields = {"packets": 100, "bytes": 9000, "layer": Layer.OVS, "mark": Mark.NONE}
    whole = f"{match}in_port({in_port}),eth_type(0x0800)"
    return FlowSeen(
        **{"ufid": f"{in_port}/{match}/{actions}", **fields, **more}, in_port=in_port, match=whole, actions=actions
    )


def seen(*flows: FlowSeen, **more: Any) -> OffloadSeen:
    fields: dict[str, Any] = {
        "enabled": True, "in_effect": True, "datapath": "system", "ports": (ABLE, OFF, VETH, OWN), "skb_ext": False,
    }  # fmt: skip
    return OffloadSeen(**{**fields, **more}, flows=flows)


def judged(one: FlowSeen, **more: Any) -> tuple[Verdict, Why]:
    report = decide(seen(one, **more))
    return report.flows[0].verdict, report.flows[0].why


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (flow("veth0", layer=Layer.TC), Why.INCAPABLE),
        (flow("rep1", layer=Layer.TC), Why.FEATURE_OFF),
        (flow(layer=Layer.TC), Why.REFUSED),
        (flow(), Why.NOT_TAKEN),
        (flow(actions="ct(commit,zone=3),recirc(0x2)"), Why.CONNTRACK),
        (flow(match="recirc_id(0x2),"), Why.CONNTRACK),
        (flow("veth0", actions="ct(zone=3),recirc(0x2)"), Why.INCAPABLE),
        (flow(actions="userspace(pid=4294967295,controller(reason=1))"), Why.UPCALL),
        (flow(actions="sample(sample=10.0%,actions(userspace(pid=1,sFlow(vid=0)))),rep1"), Why.UPCALL),
        (flow(actions="sample(sample=10.0%,actions(psample)),rep1"), Why.SAMPLED),
        (flow("br-int"), Why.INTERNAL),
        (flow("genev_sys_6081"), Why.TUNNEL),
    ],
)
def test_a_flow_of_the_kernel_that_is_in_software_has_one_reason(one: FlowSeen, why: Why) -> None:
    assert judged(one) == (Verdict.SOFTWARE, why)


def test_what_the_switch_says_is_in_hardware_is_there_whatever_else() -> None:
    assert judged(flow("rep1", layer=Layer.TC, mark=Mark.FULL)) == (Verdict.HARDWARE, Why.IN_HARDWARE)
    assert judged(flow(mark=Mark.PARTIAL)) == (Verdict.PARTIAL, Why.MARKED)
    assert judged(flow(mark=Mark.FULL), enabled=False) == (Verdict.HARDWARE, Why.IN_HARDWARE)


def test_nothing_is_blamed_while_nobody_asked() -> None:
    assert judged(flow("rep1"), enabled=False, in_effect=False) == (Verdict.NOT_ASKED, Why.OFF)


def test_a_switch_that_does_not_go_by_its_setting_needs_a_restart() -> None:
    report = decide(seen(flow(), in_effect=False))
    assert report.restart_needed
    assert (report.flows[0].verdict, report.flows[0].why) == (Verdict.SOFTWARE, Why.NOT_IN_EFFECT)
    assert report.sentence == "offload is set but not in effect: restart ovs-vswitchd"
    assert [one.flow_api for one in report.ports] == ["", "", ""]
    taken_back = decide(seen(flow(), enabled=False, in_effect=True))
    assert taken_back.restart_needed
    assert "until it is restarted" in taken_back.sentence
    assert not decide(seen(flow(), ports=(), in_effect=False)).restart_needed


def test_of_the_userspace_datapath_only_dpdk_ports_have_hardware() -> None:
    tap = PortSeen(netdev="rep0", driver="veth", feature=Feature.FIXED, taps=True)
    none = decide(seen(flow(), datapath="netdev", ports=(tap,)))
    assert (none.way, none.flows[0].verdict, none.flows[0].why) == (Way.NONE, Verdict.SOFTWARE, Why.USERSPACE)
    assert "hands flows of DPDK ports alone to hardware" in none.advice[0]
    card = PortSeen(netdev="p0", kind="dpdk")
    ports = (tap, card)
    assert judged(flow("p0", mark=Mark.FULL, layer=Layer.DPDK), datapath="netdev", ports=ports)[0] is Verdict.HARDWARE
    assert judged(flow("p0"), datapath="netdev", ports=ports) == (Verdict.SOFTWARE, Why.REFUSED)
    assert judged(flow("p0", actions="ct"), datapath="netdev", ports=ports) == (Verdict.SOFTWARE, Why.REFUSED)
    assert judged(flow("p0", actions="ct(commit)"), datapath="netdev", ports=ports)[1] is Why.CONNTRACK
    assert judged(flow("rep0"), datapath="netdev", ports=ports) == (Verdict.SOFTWARE, Why.NOT_DPDK)
    report = decide(seen(datapath="netdev", ports=ports))
    assert {one.port.netdev: (one.flow_api, one.capable) for one in report.ports} == {
        "rep0": ("linux_tc", False),
        "p0": ("dpdk_netdev", True),
    }


def test_a_dummy_datapath_is_not_believed_to_be_anything() -> None:
    port = PortSeen(netdev="p1", kind="dummy")
    report = decide(seen(flow("p1"), datapath="dummy", ports=(port,), hits_partial=42))
    assert (report.flows[0].verdict, report.flows[0].why) == (Verdict.UNKNOWN, Why.NOT_TOLD)
    assert report.sums.flows_in_hardware == 0
    assert report.sentence.startswith("offload is on, and nothing is reported in hardware")
    assert "42 packets came marked" in report.sentence
    assert report.ports[0].verdict is Verdict.UNKNOWN


def test_a_port_is_as_its_flows_are() -> None:
    taken: dict[str, Any] = {"layer": Layer.TC, "mark": Mark.FULL}
    report = decide(seen(flow(**taken), flow(actions="drop", layer=Layer.TC), flow("veth0", layer=Layer.TC)))
    ports = {one.port.netdev: one for one in report.ports}
    assert {name: one.verdict for name, one in ports.items()} == {
        "rep0": Verdict.PARTIAL,
        "rep1": Verdict.UNKNOWN,
        "veth0": Verdict.SOFTWARE,
    }
    assert ports["rep0"].why == (
        "1 of 2 flows, 50 % of packets, are not: mlx5e_rep of rep0 did not take it: "
        "a match or action beyond this hardware, or it is full"
    )
    assert ports["veth0"].why == "veth0 (veth) has no hw-tc-offload"
    assert report.sentence == (
        "offload is on (tc): 1 of 3 flows and 33 % of packets are in hardware; "
        "what keeps most of the rest out: incapable-port"
    )
    all_in = decide(seen(flow(**taken)))
    assert all_in.ports[0].why == "all of it is in hardware"
    assert all_in.sentence.endswith("1 of 1 flows and 100 % of packets are in hardware")


def test_a_port_without_a_feature_is_told_before_traffic_comes() -> None:
    assert decide(seen()).advice == ("hw-tc-offload is off on rep1: flows that enter there stay in software",)
    assert decide(seen(ports=(VETH,))).advice == ("offload is enabled, but no port of this switch has hw-tc-offload",)
    assert decide(seen(ports=(ABLE,))).advice == ()
    assert decide(seen(datapath="")).sentence == "offload is on; the switch has no datapath yet"


def test_conntrack_blames_the_kernel_only_when_that_is_known() -> None:
    one = flow(actions="ct(commit),recirc(0x2)")
    words = {}
    for known in (True, False, None):
        report = decide(seen(one, skb_ext=known))
        words[known] = why_flow(report.flows[0], {}, skb_ext=known)
    assert "NET_TC_SKB_EXT, which this kernel has not" in words[False]
    assert words[True] == words[None]
    assert "NET_TC_SKB_EXT" not in words[True]


def test_every_reason_has_words() -> None:
    for why in Why:
        report = decide(seen(flow()))
        assert why_flow(report.flows[0]._replace(why=why), {"rep0": ABLE}, skb_ext=None)


def test_a_brief_match_has_what_is_looked_at_alone() -> None:
    match = (
        "skb_priority(0/0),skb_mark(0/0),ct_state(0/0),ct_zone(0/0),ct_mark(0/0),ct_label(0/0),recirc_id(0),"
        "dp_hash(0/0),in_port(eth1),packet_type(ns=0/0,id=0/0),eth(src=00:00:00:00:00:00/00:00:00:00:00:00,"
        "dst=00:00:00:00:00:00/00:00:00:00:00:00),eth_type(0x0800),ipv4(src=0.0.0.0/0.0.0.0,dst=10.0.0.4,proto=0/0,"
        "tos=0/0x3,ttl=0/0,frag=no)"
    )
    assert brief(match) == "in_port(eth1),eth_type(0x0800),ipv4(dst=10.0.0.4,tos=0/0x3,frag=no)"
    assert brief("recirc_id(0x3),in_port(eth1)") == "recirc_id(0x3),in_port(eth1)"
    assert brief("recirc_id(0),ct_state(+trk),in_port(a)") == "ct_state(+trk),in_port(a)"


def looks(*packets: int, threshold: int = 50, **more: Any) -> tuple[Tally, OffloadReport]:
    """A tally after looks at one flow that tc has and the driver has not."""
    tally = Tally(threshold)
    report = decide(seen())
    for count in packets:
        one = flow(**{"layer": Layer.TC, **more}, packets=count, bytes=count * 10)
        report = decide(seen(one))
        tally.take(report)
    return tally, report


def test_a_flow_that_carries_much_between_two_looks_is_heavy() -> None:
    tally, _ = looks(1_000_000, 1_000_050)
    assert [(one.judged.why, one.packets) for one in tally.heavy] == [(Why.REFUSED, 50)]
    assert tally.missed[0].netdev == "rep0"
    assert tally.missed[0].sentence.startswith("50 packets in 1 flows that enter rep0 stayed in software")
    assert "actions rep1" in tally.missed[0].sentence


@pytest.mark.parametrize("packets", [(1_000_000,), (1_000_000, 1_000_049), (1_000_000, 30)])
def test_first_looks_slow_flows_and_flows_made_anew_are_not_heavy(packets: tuple[int, ...]) -> None:
    tally, _ = looks(*packets)
    assert (tally.heavy, tally.missed) == ((), ())


def test_a_flow_that_two_threads_have_is_counted_by_itself_in_each() -> None:
    tally = Tally(50)
    for _ in range(3):
        tally.take(decide(seen(flow(packets=1000, thread="main"), flow(packets=9000, thread="pmd on cpu core: 1"))))
    assert tally.heavy == ()
    assert not tally.moved.packets[Verdict.SOFTWARE]


def test_what_is_shown_of_a_flooded_packet_is_cut() -> None:
    tally, _ = looks(0, 5000, actions=",".join(f"pf0vf{number}" for number in range(1000)))
    assert len(tally.missed[0].sentence) < 1000
    assert "characters)" in tally.missed[0].sentence


def test_a_mark_that_is_not_known_is_not_taken_for_software() -> None:
    report = decide(seen(flow(mark=Mark.OTHER, layer=Layer.OTHER)))
    assert (report.flows[0].verdict, report.flows[0].why) == (Verdict.UNKNOWN, Why.NOT_KNOWN)
    assert report.ports[0].verdict is Verdict.UNKNOWN


def test_a_warning_names_some_of_many_ports() -> None:
    ports = tuple(PortSeen(netdev=f"rep{number}", feature=Feature.OFF) for number in range(1000))
    assert decide(seen(ports=ports)).advice[0].endswith(" and 992 more: flows that enter there stay in software")


def test_a_heavy_flow_in_hardware_is_how_it_should_be() -> None:
    tally, _ = looks(0, 5000, mark=Mark.FULL)
    assert tally.heavy == ()
    assert tally.moved.packets[Verdict.HARDWARE] == 5000
    assert tally.moved.bytes[Verdict.HARDWARE] == 50_000


def test_what_hardware_could_never_do_is_heavy_but_nothing_to_warn_of() -> None:
    tally, _ = looks(0, 5000, layer=Layer.OVS, actions="userspace(pid=1,controller(reason=1))")
    assert tally.heavy_by_why == {Why.UPCALL: 1}
    assert tally.missed == ()


def test_counters_go_on_when_flows_come_and_go_and_ports_that_go_leave_nothing() -> None:
    tally, _ = looks(10, 30, 5)
    assert tally.moved.packets[Verdict.SOFTWARE] == 25
    assert tally.moved.port_packets["rep0", Verdict.SOFTWARE] == 25
    tally.take(decide(seen(ports=(OFF,))))
    assert not tally.moved.port_packets
