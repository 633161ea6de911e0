"""What pods and definitions say of networks: both forms of the annotation, and every way to get them wrong."""

import json
from typing import Any

import pytest

from coordinator.core.net.attachments import NETWORKS, Definition, definition_of, selections
from coordinator.core.net.pods import EGRESS, GROUPS, INGRESS, LONGEST_NAME, holds_ports, port_name, ports_of
from coordinator.core.objects.meta import Json
from proto.errors import DpuError


def pod(annotations: dict[str, str] | None = None, name: str = "web", **spec: Any) -> Json:
    meta = {
        "name": name,
        "namespace": "shop",
        "uid": "12345678-90ab-cdef-0000-000000000000",
        "annotations": annotations,
    }
    return {"metadata": meta, "spec": {"nodeName": "node-1"} | spec}


def definition(config: str) -> Json:
    return {"metadata": {"name": "side", "namespace": "shop"}, "spec": {"config": config}}


OURS = definition(json.dumps({"cniVersion": "1.0.0", "name": "side", "type": "dpu-cni", "network": "side"}))


def test_the_short_form_names_networks_with_namespace_and_interface_where_they_are_given() -> None:
    found = selections(" side, infra/storage@eth1 ,third@net3", "shop")
    assert [(one.key, one.interface) for one in found] == [
        ("shop/side", ""),
        ("infra/storage", "eth1"),
        ("shop/third", "net3"),
    ]


def test_the_json_form_asks_for_addresses_mac_and_bandwidth() -> None:
    element = {
        "name": "side",
        "namespace": "infra",
        "interface": "net1",
        "ips": ["10.2.2.42/24", "fd00::42"],
        "mac": "02:23:45:67:89:01",
        "bandwidth": {"ingressRate": 2048, "ingressBurst": 1600, "egressRate": 4096, "egressBurst": 1600},
    }
    (one,) = selections(json.dumps([element]), "shop")
    assert (one.key, one.interface, one.addresses) == ("infra/side", "net1", ("10.2.2.42", "fd00::42"))
    assert (one.bandwidth.ingress_bps, one.bandwidth.egress_burst_bits) == (2048, 1600)


@pytest.mark.parametrize("annotation", ["", "  ", "[]"])
def test_an_empty_annotation_names_none(annotation: str) -> None:
    assert selections(annotation, "shop") == []


@pytest.mark.parametrize(
    "annotation",
    [
        ",",
        "a,,b",
        "a@",
        "/a",
        "a/",
        "a/b/c",
        "a@toolonginterfacename",
        "[",
        '{"name": "a"}',
        '["a"]',
        "[{}]",
        '[{"name": 1}]',
        '[{"name": "\\ud800"}]',
        '[{"name": "a", "namespace": "\\ud800"}]',
        "Side",
        "a b",
        '[{"name": "a", "ips": "10.0.0.1"}]',
        '[{"name": "a", "ips": ["10.0.0.300"]}]',
        '[{"name": "a", "interface": "a/b"}]',
        '[{"name": "a", "interface": "a\\nb"}]',
        '[{"name": "a", "interface": "net\u00e9"}]',
        "a@.",
        "a@..",
        "a@lo",
        "a@net%d",
        '[{"name": "a", "bandwidth": {"ingressRate": "fast"}}]',
        '[{"name": "a", "bandwidth": {"ingressRate": -1}}]',
        "[" * 100_000,
    ],
)
def test_a_malformed_annotation_is_refused_by_its_part(annotation: str) -> None:
    with pytest.raises(DpuError) as caught:
        selections(annotation, "shop")
    assert caught.value.field.startswith(NETWORKS)
    assert str(caught.value).encode()
    assert caught.value.remedy


def test_definitions_of_ours_are_found_alone_and_in_lists() -> None:
    assert definition_of(OURS) == Definition(network="side")
    plugins = [{"type": "dpu-cni", "network": "side", "subnet": "side-a"}, {"type": "tuning"}]
    chained = definition(json.dumps({"cniVersion": "1.0.0", "name": "x", "plugins": plugins}))
    assert definition_of(chained) == Definition(network="side", subnet="side-a")


@pytest.mark.parametrize("config", ["", '{"type": "macvlan"}', "[]", '{"plugins": [1]}', "null"])
def test_definitions_of_others_are_passed_over(config: str) -> None:
    assert definition_of(definition(config)) is None


@pytest.mark.parametrize(
    "config",
    [
        "{",
        '{"type": "dpu-cni"}',
        '{"type": "dpu-cni", "network": 7}',
        '{"type": "dpu-cni", "network": "\\ud800"}',
        '{"type": "dpu-cni", "network": "side", "subnet": "\\ud800"}',
    ],
)
def test_definitions_of_ours_that_say_nothing_useful_are_refused(config: str) -> None:
    with pytest.raises(DpuError) as caught:
        definition_of(definition(config))
    assert "shop/side" in str(caught.value)
    assert str(caught.value).encode()


def test_a_pods_own_port_comes_first_and_each_network_has_one() -> None:
    asked = ports_of(pod({NETWORKS: "side,side,side@net7", INGRESS: "1G", GROUPS: "a,b"}), lambda _key: OURS)
    assert not asked.problems
    assert [one.name for one in asked.wanted] == [
        "web-eth0-12345678",
        "web-shop-side-12345678",
        "web-shop-side-2-12345678",
        "web-net7-12345678",
    ]
    assert asked.wanted[0].own
    assert asked.wanted[0].bandwidth.ingress_bps == 10**9
    assert {one.security_groups for one in asked.wanted} == {("a", "b")}


def test_two_networks_on_one_interface_are_refused_and_the_rest_is_given() -> None:
    asked = ports_of(pod({NETWORKS: "side@net1,side@net1,side@net2"}), lambda _key: OURS)
    assert [one.interface for one in asked.wanted] == ["", "net2"]
    assert "ask for one interface" in asked.problems[0].message


def test_what_cannot_be_read_leaves_the_others() -> None:
    asked = ports_of(pod({EGRESS: "fast", NETWORKS: "side,gone"}), lambda key: OURS if key == "shop/side" else None)
    assert [one.attachment for one in asked.wanted] == ["shop/side"]
    assert [problem.field for problem in asked.problems] == [f"metadata.annotations[{EGRESS}]", f"{NETWORKS}[1]"]


@pytest.mark.parametrize("rate", ["1", "999", "2P", "-1M", "1X"])
def test_a_bandwidth_that_no_link_has_is_refused(rate: str) -> None:
    assert ports_of(pod({INGRESS: rate}), lambda _key: None).problems


def test_pods_that_are_unbound_over_or_in_the_hosts_network_hold_no_port() -> None:
    assert holds_ports(pod())
    assert not holds_ports(pod(nodeName=""))
    assert not holds_ports(pod(hostNetwork=True))
    assert not holds_ports(pod() | {"status": {"phase": "Succeeded"}})


def test_names_of_ports_are_valid_and_differ_whatever_interfaces_are_called() -> None:
    long = pod(name="a" * 253)
    assert len(port_name(long, "eth0")) <= LONGEST_NAME
    assert port_name(pod(), "net_1") != port_name(pod(), "net-1")
    assert port_name(pod(), "NET1") != port_name(pod(), "net1")
    assert port_name(pod(), "net_1").replace("-", "").isalnum()
