"""Reading what ovs-vswitchd 3.1 printed: lines of real runs, with the kernel's datapath and in userspace."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpu_daemon.drivers.offload import dpctl, driver
from dpu_daemon.model.offload import Layer, Mark

HERE = Path(__file__).parent
KERNEL = (HERE / "kernel_tc.txt").read_text()
USERSPACE = (HERE / "userspace.txt").read_text()
DPDK = (
    "ufid:6d1f9f2e-0000-4000-8000-000000000001, mega_ufid:6d1f9f2e-0000-4000-8000-000000000002, recirc_id(0),"
    "in_port(pf0vf0),packet_type(ns=0,id=0),eth_type(0x0800),ipv4(frag=no), packets:7, bytes:700, used:0.1s, "
    "flags:SFP., offloaded:partial, dp:ovs, actions:ct(commit),recirc(0x1), dp-extra-info:miniflow_bits(5,1)"
)


def test_flows_of_the_kernel_say_who_has_them() -> None:
    found = dpctl.read(KERNEL).flows
    assert [(flow.in_port, flow.layer, flow.mark) for flow in found] == [
        ("eth1", Layer.TC, Mark.FULL),
        ("eth1", Layer.TC, Mark.FULL),
        ("eth1", Layer.TC, Mark.FULL),
        ("eth1", Layer.TC, Mark.FULL),
        ("eth1", Layer.TC, Mark.NONE),
        ("eth4", Layer.TC, Mark.FULL),
        ("eth1", Layer.OVS, Mark.NONE),
        ("eth1", Layer.OVS, Mark.NONE),
        ("eth1", Layer.OVS, Mark.NONE),
        ("eth4", Layer.TC, Mark.NONE),
    ]


def test_counters_and_actions_are_whole() -> None:
    tunnel = dpctl.read(KERNEL).flows[1]
    assert (tunnel.packets, tunnel.bytes) == (4, 336)
    assert tunnel.actions == "set(tunnel(tun_id=0x7,dst=10.9.9.2,ttl=64,tp_dst=6081,flags(key))),genev_sys_6081"
    assert tunnel.ufid == "98bebb9f-e354-4f25-8179-21a7e42cd000"
    assert tunnel.match.startswith("skb_priority(0/0)")
    assert tunnel.match.endswith("frag=no)")


def test_lines_that_name_a_thread_are_no_flows() -> None:
    found = dpctl.read(USERSPACE).flows
    assert [(flow.in_port, flow.actions, flow.packets) for flow in found] == [
        ("r2", "r1", 4),
        ("r1", "br0,r2", 0),
        ("r1", "br0,r2", 0),
    ]


def test_a_flow_of_two_threads_is_two_flows() -> None:
    told = f"flow-dump from pmd on cpu core: 2\n{DPDK}\nflow-dump from pmd on cpu core: 3\n{DPDK}\n"
    assert [flow.thread for flow in dpctl.read(told).flows] == ["pmd on cpu core: 2", "pmd on cpu core: 3"]


def test_what_cannot_be_read_is_counted_and_shown() -> None:
    assert (dpctl.read(KERNEL).unread, dpctl.read(USERSPACE).unread) == (0, 0)
    cut = dpctl.read(KERNEL[: KERNEL.rindex(", actions:")])
    assert (len(cut.flows), cut.unread) == (9, 1)
    assert cut.unread_line.startswith("ufid:")
    without_ufid = "recirc_id(0),in_port(a),eth(), packets:1, bytes:2, used:1s, dp:ovs, actions:b"
    assert dpctl.read(f"{without_ufid}\n{without_ufid}\n") == ((), 2, without_ufid)


def test_words_that_are_not_known_are_not_taken_for_others() -> None:
    line = DPDK.replace("offloaded:partial", "offloaded:maybe").replace("dp:ovs", "dp:p4")
    flow = dpctl.parse_flow(line)
    assert flow is not None
    assert (flow.mark, flow.layer) == (Mark.OTHER, Layer.OTHER)


def test_flags_a_second_identity_and_a_partial_mark_are_understood() -> None:
    flow = dpctl.parse_flow(DPDK)
    assert flow is not None
    assert (flow.in_port, flow.mark, flow.layer, flow.packets) == ("pf0vf0", Mark.PARTIAL, Layer.OVS, 7)
    assert flow.match.startswith("recirc_id(0)")
    assert flow.actions == "ct(commit),recirc(0x1)"


@pytest.mark.parametrize(
    "line",
    ["", "pmd on cpu core: 3", "in_port(2),eth(), packets:1, bytes:2, used:1s, actions:3", KERNEL[:200],
     "ufid:1, in_port(a), packets:many, bytes:2, used:never, actions:drop"],
)  # fmt: skip
def test_what_is_no_whole_flow_is_passed_over(line: str) -> None:
    assert dpctl.parse_flow(line) is None


@given(st.integers(0, len(KERNEL)), st.text(max_size=5))
def test_no_garbage_in_the_text_stops_the_reading(cut: int, noise: str) -> None:
    assert len(dpctl.read(KERNEL[:cut] + noise + KERNEL[cut:]).flows) >= 8


UPCALL_OFF = """\
netdev@ovs-netdev:
  flows         : (current 0) (avg 0) (max 0) (limit 10000)
  dump duration : 1ms
  ufid enabled : true

  4: (keys 0)
"""
UPCALL_BOTH = (
    """\
system@ovs-system:
  flows         : (current 5) (avg 4) (max 5) (limit 10000)
  offloaded flows : 0
  dump duration : 3ms
  ufid enabled : true

  4: (keys 5)
"""
    + UPCALL_OFF
)


@pytest.mark.parametrize(
    ("told", "datapath", "expected"),
    [
        (UPCALL_OFF, "netdev@ovs-netdev", False),
        (UPCALL_BOTH, "system@ovs-system", True),
        (UPCALL_BOTH, "netdev@ovs-netdev", False),
        ("", "system@ovs-system", False),
    ],
)
def test_whether_offload_is_in_effect_shows_in_the_upcalls(told: str, datapath: str, expected: bool) -> None:
    assert dpctl.tells_of_offload(told, datapath) is expected


@pytest.mark.parametrize(
    ("told", "statistics", "expected"),
    [(True, "", True), (False, "", False), (True, "HW Offload stats:\n", True), (False, "HW Offload stats:\n", None)],
)
def test_a_newer_switch_that_is_silent_about_offload_has_not_said_no(
    told: bool, statistics: str, expected: bool | None
) -> None:
    assert driver.in_effect(told=told, statistics=statistics) is expected


STATISTICS = """\
HW Offload stats:
     Total                 Enqueued offloads:      2
     Total                 Inserted offloads:      5
     [  0]                 Inserted offloads:      5
"""
THREADS = """\
main thread:
  phwol hits: 4
pmd thread numa_id 0 core_id 1:
  packets received: 9
  phwol hits: 38
"""


def test_statistics_are_summed() -> None:
    assert dpctl.inserted(STATISTICS) == 5
    assert dpctl.inserted("HW Offload stats:\n") is None
    assert dpctl.inserted("  dpdk:\n      Total                 Inserted offloads: many\n") is None
    assert dpctl.marked_hits(THREADS) == 42
    assert dpctl.datapaths("netdev@ovs-netdev\nsystem@ovs-system\n") == ("netdev@ovs-netdev", "system@ovs-system")
