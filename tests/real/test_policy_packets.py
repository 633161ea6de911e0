"""Policies, security groups and Services by what packets do on a real Open vSwitch and OVN."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.fakes.netns import inside
from tests.fakes.ovn import wait_until
from tests.real.policy_rig import DROPPED_AFTER_S, ECHO, PATIENCE_S, PolicyRig, said_back

pytestmark = pytest.mark.real

Json = dict[str, Any]

WEB, CLIENT, STRANGER, TWIN = "web", "client", "stranger", "twin"
VIP, VIP_V6 = "10.96.0.10", "fd96::10"
EXPERIMENTAL = 253
HTTP: Json = {"name": "http", "containerPort": 8080}


@pytest.fixture(scope="module")
def stage() -> Iterator[PolicyRig]:
    with ExitStack() as held:
        rig = PolicyRig(held)
        rig.touch(rig.index.set_namespace("shop", {"team": "a"}))
        rig.touch(rig.index.set_namespace("other", {"team": "b"}))
        rig.add_pod(WEB, "front", {"app": "web"}, [HTTP], "shop")
        rig.add_pod(CLIENT, "front", {"app": "client"}, [], "shop")
        rig.add_pod(STRANGER, "back", {"app": "client"}, [], "other")
        rig.add_pod(TWIN, "back", {"app": "twin", "groups": "guarded"}, [HTTP | {"containerPort": 9090}], "shop")
        rig.serve(WEB, 80, 8080, 8500, 9000)
        rig.serve(TWIN, 80, 9090)
        rig.group("guarded", "shop")
        rig.settle()
        wait_until(lambda: rig.tcp(STRANGER, rig.addresses[WEB][0], 80, passes=True), "the first packet", 60)
        yield rig


@pytest.fixture
def rig(stage: PolicyRig) -> Iterator[PolicyRig]:
    with stage.fresh():
        stage.group("guarded", "shop")
        yield stage


def test_default_deny_drops_what_comes_and_lets_replies_and_neighbour_discovery_through(rig: PolicyRig) -> None:
    for address in rig.addresses[WEB]:
        assert rig.tcp(CLIENT, address, 80, passes=True)
    rig.policy("deny", "shop", podSelector={"matchLabels": {"app": "web"}})
    for address in rig.addresses[WEB]:
        assert rig.tcp(CLIENT, address, 80, passes=False)
        assert rig.udp(CLIENT, address, 80, passes=False)
    for address in rig.addresses[TWIN]:
        assert rig.tcp(WEB, address, 80, passes=True)
        assert rig.udp(WEB, address, 80, passes=True)


def test_a_namespace_is_let_in_on_a_named_port_and_on_a_range(rig: PolicyRig) -> None:
    team = {"namespaceSelector": {"matchLabels": {"team": "b"}}}
    ports: list[Json] = [{"port": "http"}, {"port": 8400, "endPort": 8600}, {"port": 9000, "protocol": "UDP"}]
    rig.policy("team", "shop", podSelector={}, ingress=[{"from": [team], "ports": ports}])
    for address in rig.addresses[WEB]:
        assert rig.tcp(STRANGER, address, 8080, passes=True)
        assert rig.tcp(STRANGER, address, 8500, passes=True)
        assert rig.udp(STRANGER, address, 9000, passes=True)
        assert rig.tcp(STRANGER, address, 9000, passes=False)
        assert rig.tcp(CLIENT, address, 8080, passes=False)
    assert rig.tcp(STRANGER, rig.addresses[TWIN][0], 9090, passes=True)
    assert rig.tcp(STRANGER, rig.addresses[TWIN][0], 80, passes=False)
    rig.touch(rig.index.set_namespace("other", {"team": "c"}))
    try:
        assert rig.tcp(STRANGER, rig.addresses[WEB][0], 8080, passes=False)
    finally:
        rig.touch(rig.index.set_namespace("other", {"team": "b"}))


def test_a_block_is_let_in_but_for_its_exceptions(rig: PolicyRig) -> None:
    stranger = rig.addresses[STRANGER][0]
    block = {"cidr": "10.8.0.0/16", "except": [f"{stranger}/32"]}
    rig.policy("block", "shop", podSelector={}, ingress=[{"from": [{"ipBlock": block}]}])
    assert rig.tcp(CLIENT, rig.addresses[WEB][0], 80, passes=True)
    assert rig.tcp(STRANGER, rig.addresses[WEB][0], 80, passes=False)
    assert rig.tcp(CLIENT, rig.addresses[WEB][1], 80, passes=False)


def test_egress_to_a_service_is_judged_by_the_pod_that_answers(rig: PolicyRig) -> None:
    rig.service(*web_service(rig, [WEB]))
    to_web: Json = {"to": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": "http"}]}
    rig.policy("out", "shop", podSelector={"matchLabels": {"app": "client"}}, policyTypes=["Egress"], egress=[to_web])
    for address in (VIP, VIP_V6, *rig.addresses[WEB]):
        assert rig.tcp(CLIENT, address, 80 if address in {VIP, VIP_V6} else 8080, passes=True)
    assert rig.tcp(CLIENT, rig.addresses[WEB][0], 80, passes=False)
    rig.service(*web_service(rig, [TWIN], 9090))
    assert rig.tcp(CLIENT, VIP, 80, passes=False)
    assert rig.tcp(STRANGER, VIP, 80, passes=True)


def test_a_pod_reaches_itself_through_a_service_whatever_policies_say(rig: PolicyRig) -> None:
    rig.service(*web_service(rig, [WEB]))
    assert rig.tcp(WEB, VIP, 80, passes=True)
    rig.policy("deny", "shop", podSelector={}, policyTypes=["Ingress", "Egress"])
    assert rig.tcp(WEB, VIP, 80, passes=True)
    assert rig.tcp(WEB, VIP_V6, 80, passes=True)
    assert rig.tcp(CLIENT, VIP, 80, passes=False)


def test_a_client_that_keeps_its_udp_port_is_not_sent_to_an_endpoint_that_went(rig: PolicyRig) -> None:
    rig.service(*web_service(rig, [WEB]))
    with rig.datagrams(CLIENT, VIP, 80) as sender:
        assert rig.who_answers(sender) == WEB
        rig.service(*web_service(rig, [TWIN], 9090))
        assert rig.who_answers(sender) == TWIN


def test_a_client_with_affinity_keeps_its_endpoint(rig: PolicyRig) -> None:
    service, slices = web_service(rig, [WEB, TWIN], 80)
    rig.service(service, slices)
    assert answering(rig, 16) == {WEB, TWIN}
    service["spec"]["sessionAffinity"] = "ClientIP"
    rig.service(service, slices)
    assert len(answering(rig, 8)) == 1


def answering(rig: PolicyRig, times: int) -> set[str]:
    """Who answers datagrams, each of a new socket."""
    found = set()
    for _ in range(times):
        with rig.datagrams(CLIENT, VIP, 80) as sender:
            found.add(rig.who_answers(sender))
    return found


def test_a_service_without_endpoints_refuses_at_once(rig: PolicyRig) -> None:
    rig.service(*web_service(rig, []))
    assert rig.refused(CLIENT, VIP, 80)
    assert rig.refused(STRANGER, VIP_V6, 80)


def test_a_pod_in_a_group_needs_leave_of_the_group_and_of_the_policies(rig: PolicyRig) -> None:
    twin = rig.addresses[TWIN][0]
    clients = [{"cidr": f"{rig.addresses[CLIENT][0]}/32"}, {"cidr": f"{rig.addresses[STRANGER][0]}/32"}]
    rig.group("guarded", "shop", ingress=[{"peers": clients, "ports": [{"port": 80}]}])
    assert rig.tcp(CLIENT, twin, 80, passes=True)
    assert rig.tcp(CLIENT, twin, 9090, passes=False)
    assert rig.udp(CLIENT, twin, 80, passes=False)
    assert rig.raw(CLIENT, TWIN, EXPERIMENTAL, passes=False)
    assert rig.tcp(WEB, twin, 80, passes=False)
    assert rig.tcp(CLIENT, rig.addresses[TWIN][1], 80, passes=False)
    assert rig.tcp(TWIN, rig.addresses[WEB][0], 80, passes=True)
    rig.policy("near", "shop", podSelector={"matchLabels": {"app": "twin"}}, ingress=[{"from": [{"podSelector": {}}]}])
    assert rig.tcp(CLIENT, twin, 80, passes=True)
    assert rig.tcp(STRANGER, twin, 80, passes=False)
    assert rig.tcp(WEB, twin, 80, passes=False)


def test_a_group_may_allow_every_protocol_and_what_a_group_says_of_sending_holds_for_services(rig: PolicyRig) -> None:
    twin = rig.addresses[TWIN]
    rig.service(*web_service(rig, [WEB]))
    rig.group("guarded", "shop", ingress=[{"peers": [{"cidr": "10.8.1.0/24"}]}, {"ports": [{"port": 9090}]}])
    assert rig.raw(CLIENT, TWIN, EXPERIMENTAL, passes=True)
    assert rig.raw(STRANGER, TWIN, EXPERIMENTAL, passes=False)
    assert rig.udp(STRANGER, twin[0], 80, passes=False)
    assert rig.tcp(STRANGER, twin[1], 9090, passes=True)
    assert rig.tcp(TWIN, VIP, 80, passes=True)
    web = [{"cidr": f"{rig.addresses[WEB][0]}/32"}]
    rig.group("guarded", "shop", egress=[{"peers": web, "ports": [{"port": 8080}]}])
    assert rig.tcp(TWIN, VIP, 80, passes=True)
    assert rig.tcp(TWIN, VIP_V6, 80, passes=False)
    assert rig.tcp(TWIN, rig.addresses[WEB][0], 80, passes=False)
    assert rig.tcp(CLIENT, twin[0], 80, passes=True)


def test_a_connection_ends_when_a_policy_forbids_it_and_goes_on_when_another_still_allows_it(rig: PolicyRig) -> None:
    web = {"matchLabels": {"app": "web"}}
    rig.policy("open", "shop", podSelector=web, ingress=[{"from": [{"podSelector": {}}]}])
    with inside(rig.namespaces[CLIENT]):
        opened = socket.create_connection((rig.addresses[WEB][0], 80), timeout=PATIENCE_S)
    with opened:
        assert said_back(opened)
        rig.policy("port", "shop", podSelector=web, ingress=[{"ports": [{"port": 80}]}])
        rig.touch(rig.index.drop_policy("shop/open"))
        assert said_back(opened)
        rig.policy("port", "shop", podSelector=web, ingress=[{"ports": [{"port": 81}]}])
        opened.settimeout(DROPPED_AFTER_S)
        opened.sendall(ECHO)
        with pytest.raises(TimeoutError):
            opened.recv(64)


def test_a_policy_that_comes_into_force_leaves_what_it_allows_alone_also_connections_that_began_before(
    rig: PolicyRig,
) -> None:
    with inside(rig.namespaces[CLIENT]):
        opened = socket.create_connection((rig.addresses[WEB][0], 80), timeout=PATIENCE_S)
    with opened:
        assert said_back(opened)
        rig.policy("port", "shop", podSelector={}, ingress=[{"ports": [{"port": 80}]}])
        opened.settimeout(PATIENCE_S)
        assert said_back(opened)
        assert said_back(opened)


def test_the_node_reaches_its_pods_whatever_policies_say(rig: PolicyRig) -> None:
    client = rig.addresses[CLIENT][0]
    rig.policy("deny", "shop", podSelector={})
    assert rig.tcp(CLIENT, rig.addresses[WEB][0], 80, passes=False)
    rig.touch(rig.index.set_node("n1", [client]))
    try:
        assert rig.tcp(CLIENT, rig.addresses[WEB][0], 80, passes=True)
        assert rig.tcp(STRANGER, rig.addresses[WEB][0], 80, passes=False)
    finally:
        rig.touch(rig.index.set_node("n1", []))


def test_neither_northd_nor_the_controller_found_fault_with_what_was_written(stage: PolicyRig) -> None:
    logs = [stage.central.directory / "northd.log", stage.chassis.directory / "ovn-controller.log"]
    for log in logs:
        said = log.read_text()
        assert "error parsing" not in said, said
        assert "Syntax error" not in said, said


def web_service(rig: PolicyRig, pods: list[str], port: int = 8080) -> tuple[Json, list[Json]]:
    metadata = {"name": "web", "namespace": "shop"}
    ports = [{"name": "http", "port": 80}, {"name": "udp", "port": 80, "protocol": "UDP"}]
    spec = {"clusterIP": VIP, "clusterIPs": [VIP, VIP_V6], "ports": ports}
    slices = [
        {
            "addressType": kind,
            "endpoints": [{"addresses": [rig.addresses[pod][at]]} for pod in pods],
            "ports": [{"name": "http", "port": port}, {"name": "udp", "port": port, "protocol": "UDP"}],
        }
        for at, kind in enumerate(("IPv4", "IPv6"))
    ]
    return {"metadata": metadata, "spec": spec}, slices
