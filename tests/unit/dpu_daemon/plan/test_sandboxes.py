"""What a container gets for an assignment, and what is not as it was given."""

from dataclasses import replace
from typing import Any

import pytest

from dpu_daemon.model.assignment import Bandwidth, Holder, PodAddress, PodRoute, Sandbox
from dpu_daemon.model.sandbox import InsideSeen, SandboxClaim
from dpu_daemon.plan.sandboxes import claims_device, differences, inside_marks, inside_of, mtu_of, unclaimed, unlimited
from proto.errors import DpuError
from tests.fakes.cni import ask, assignment


def test_each_gateway_is_a_default_route_before_the_assignment_s_own() -> None:
    known = assignment(
        addresses=(
            PodAddress(cidr="10.1.0.5/16", gateway="10.1.0.1"),
            PodAddress(cidr="FD00::5/64", gateway="fd00::1"),
        ),
        routes=(PodRoute(dst="10.9.0.0/16", via="10.1.0.9"), PodRoute(dst="10.8.0.0/16")),
        mac="0A:58:00:00:00:01",
    )
    wanted = inside_of(known, "eth0", 1400)
    assert wanted.mac == "0a:58:00:00:00:01"
    assert wanted.addresses == ("10.1.0.5/16", "fd00::5/64")
    assert [(route.dst, route.via) for route in wanted.routes] == [
        ("0.0.0.0/0", "10.1.0.1"),
        ("::/0", "fd00::1"),
        ("10.9.0.0/16", "10.1.0.9"),
        ("10.8.0.0/16", ""),
    ]


@pytest.mark.parametrize(
    ("network", "asked", "given"),
    [(1400, 0, 1400), (1400, 1300, 1300), (1400, 1400, 1400), (0, 0, 1500), (0, 9000, 9000)],
)
def test_the_mtu_is_the_network_s_unless_a_smaller_one_is_asked_for(network: int, asked: int, given: int) -> None:
    assert mtu_of(assignment(mtu=network), asked) == given


@pytest.mark.parametrize("asked", [1401, 1279])
def test_an_mtu_that_the_pod_cannot_have_is_refused(asked: int) -> None:
    with pytest.raises(DpuError) as caught:
        mtu_of(assignment(), asked)
    assert caught.value.field == "mtu"


def test_a_small_mtu_is_fine_without_ipv6() -> None:
    assert mtu_of(assignment(addresses=(PodAddress(cidr="10.1.0.5/16"),)), 600) == 600


def test_what_others_added_is_no_difference() -> None:
    wanted = inside_of(assignment(), "eth0", 1400)
    seen = InsideSeen(
        interface="eth0",
        mac=wanted.mac,
        mtu=1400,
        up=True,
        addresses=frozenset({*wanted.addresses, "fe80::1/64"}),
        routes=frozenset({*wanted.routes, PodRoute(dst="10.0.0.0/8")}),
    )
    assert differences(wanted, seen) == ()
    assert differences(wanted, replace(seen, up=False, mtu=1500)) == ("eth0 is down", "eth0 has MTU 1500, not 1400")
    assert differences(wanted, None) == ("eth0 is gone",)


def test_what_the_runtime_remembers_is_compared_with_what_is_there() -> None:
    wanted = inside_of(assignment(), "eth0", 1400)
    seen = InsideSeen(
        interface="eth0",
        mac=wanted.mac,
        mtu=1400,
        up=True,
        addresses=frozenset({*wanted.addresses, "192.0.2.1/24"}),
        routes=frozenset(wanted.routes),
    )
    nothing = SandboxClaim(holder=Holder("c1", "eth0"), netns="/n")
    all_of_it = replace(nothing, mac=wanted.mac, mtu=1400, addresses=(*wanted.addresses, "192.0.2.1/24"))
    assert differences(wanted, seen, nothing) == differences(wanted, seen, all_of_it) == ()
    assert differences(wanted, seen, replace(all_of_it, addresses=("192.0.2.2/24",))) == (
        "address 192.0.2.2/24 of prevResult is missing",
    )
    assert differences(wanted, seen, replace(all_of_it, mac="02:00:00:00:00:01")) == (
        f"eth0 has MAC {wanted.mac}, and prevResult says 02:00:00:00:00:01",
    )


def test_a_plug_in_after_us_may_have_made_the_mtu_smaller_but_not_larger() -> None:
    wanted = inside_of(assignment(), "eth0", 1400)
    seen = InsideSeen(
        interface="eth0",
        mac=wanted.mac,
        mtu=1300,
        up=True,
        addresses=frozenset(wanted.addresses),
        routes=frozenset(wanted.routes),
    )
    tuned = SandboxClaim(holder=Holder("c1", "eth0"), netns="/n", mtu=1300)
    assert differences(wanted, seen, tuned) == ()
    assert differences(wanted, seen) == ("eth0 has MTU 1300, not 1400",)
    assert differences(wanted, replace(seen, mtu=1400), tuned) == ("eth0 has MTU 1400, not 1300",)
    large = replace(tuned, mtu=9000)
    assert differences(wanted, replace(seen, mtu=9000), large) == ("eth0 has MTU 9000, not 1400",)


def test_a_runtime_may_remember_more_addresses_but_not_fewer() -> None:
    assert unclaimed(assignment(), ()) == ()
    assert unclaimed(assignment(), ("10.16.0.5/16", "fd00:10:0::5/64", "192.0.2.1/24")) == ()
    assert unclaimed(assignment(), ("10.16.0.5/16",)) == ("fd00:10::5/64",)


def test_only_limits_that_were_asked_for_and_differ_are_told() -> None:
    wish = ask(bandwidth=Bandwidth(ingress_bps=5, egress_bps=7))
    assert (
        unlimited(wish, assignment(bandwidth=Bandwidth(ingress_bps=5))) == "egress 7 bit/s asked for, no limit assigned"
    )
    assert unlimited(ask(), assignment(bandwidth=Bandwidth(ingress_bps=5))) == ""


def test_a_device_is_left_to_the_container_that_has_it_now() -> None:
    old = Sandbox(
        container_id="a", interface="eth0", netns="/n", network="n", vf=3, wanted=False, assignment=assignment()
    )
    new = replace(old, container_id="b", wanted=True)
    assert claims_device(old, new)
    assert not claims_device(old, old)
    assert not claims_device(old, replace(new, vf=4))
    assert not claims_device(old, replace(new, wanted=False))
    pair = replace(old, vf=-1, representor="dp1")
    assert claims_device(pair, replace(new, vf=-1, representor="dp1"))
    assert not claims_device(pair, replace(new, vf=-1, representor=""))


OLD = Sandbox(
    container_id="c1",
    interface="eth0",
    netns="/run/netns/a",
    netns_inode=7,
    network="dpupool",
    assignment=assignment(),
)
MAC = "0a:58:0a:10:00:05"


@pytest.mark.parametrize(
    ("other", "marks"),
    [
        ({}, ("", "")),
        ({"assignment": assignment(mac="0A:58:00:00:00:09")}, ("", MAC)),
        ({"assignment": None}, ("", "")),
        ({"interface": "net1", "assignment": assignment(mac="0a:58:00:00:00:09")}, ("eth0", MAC)),
        ({"interface": "net1"}, ("eth0", "")),
        ({"wanted": False}, ("eth0", MAC)),
        ({"netns_inode": 8}, ("eth0", MAC)),
        ({"netns_inode": 0}, ("", "")),
        ({"netns_inode": 0, "netns": "/run/netns/b"}, ("eth0", MAC)),
    ],
)
def test_a_device_is_not_looked_for_by_what_another_one_in_its_namespace_has(
    other: dict[str, Any], marks: tuple[str, str]
) -> None:
    assert inside_marks(OLD, [OLD, replace(OLD, container_id="c2", **other)]) == marks
