"""Services become load balancers on every switch."""

from typing import Any

import pytest

from coordinator.core.net.rows import Row, Table, ref
from coordinator.core.net.services import HAIRPIN, ServiceRows, service_of, service_rows, vips_of
from coordinator.core.net.vips import Vip
from proto.reasons import Reason

Json = dict[str, Any]

SUBNETS = ("front", "back")


def service(**spec: Any) -> Json:
    given: Json = {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}]}
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": given | spec}


def slice_of(*addresses: str, port: int = 8080, kind: str = "IPv4", name: str = "http", **conditions: bool) -> Json:
    endpoints = [{"addresses": [address], "conditions": conditions} for address in addresses]
    return {"addressType": kind, "endpoints": endpoints, "ports": [{"name": name, "port": port}]}


def made(found: Json, *slices: Json) -> ServiceRows:
    return service_rows(found, slices, SUBNETS)


def balancers(found: ServiceRows) -> list[Row]:
    return [row for row in found.rows if row.table is Table.LOAD_BALANCER]


def vips(found: ServiceRows) -> dict[str, Any]:
    assert found.faults == []
    held: dict[str, Any] = {}
    for row in balancers(found):
        given = row.columns["vips"]
        assert isinstance(given, dict)
        held |= given
    return held


def options(found: ServiceRows) -> dict[str, str]:
    (row,) = balancers(found)
    given = row.columns["options"]
    assert isinstance(given, dict)
    return given


def test_a_service_is_one_load_balancer_for_each_protocol_on_every_switch() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "tls", "port": 443}]
    found = made(service(ports=ports), slice_of("10.0.0.1", "10.0.0.2"))
    assert [row.key for row in balancers(found)] == ["shop/web.tcp", "shop/web.udp"]
    assert vips(found) == {"10.96.0.1:80": "10.0.0.1:8080,10.0.0.2:8080", "10.96.0.1:443": "", "10.96.0.1:53": ""}
    held = frozenset(ref(Table.LOAD_BALANCER, row.key) for row in balancers(found))
    switches = [row for row in found.rows if row.table is Table.SWITCH]
    assert [(row.key, row.columns) for row in switches] == [
        (f"subnet.{name}", {"load_balancer": held}) for name in SUBNETS
    ]


def test_a_service_without_endpoints_refuses_and_a_pod_reaches_itself_by_an_address_of_nobody() -> None:
    given = options(made(service()))
    assert given == {"reject": "true", "hairpin_snat_ip": " ".join(HAIRPIN.values())}
    assert "ct_flush" in options(made(service(ports=[{"port": 53, "protocol": "UDP"}])))


def test_both_families_have_endpoints_of_their_own() -> None:
    found = made(
        service(clusterIPs=["10.96.0.1", "fd96::0:1"]), slice_of("10.0.0.1"), slice_of("fd00::1", kind="IPv6", port=9)
    )
    assert vips(found) == {"10.96.0.1:80": "10.0.0.1:8080", "[fd96::1]:80": "[fd00::1]:9"}


def test_addresses_from_outside_lead_to_the_same_endpoints_unless_a_proxy_has_them() -> None:
    found = service(externalIPs=["192.0.2.1"])
    listed = [{"ip": "192.0.2.2", "ipMode": "VIP"}, {"ip": "192.0.2.3", "ipMode": "Proxy"}, {"hostname": "lb"}]
    found["status"] = {"loadBalancer": {"ingress": listed}}
    assert set(vips(made(found))) == {"10.96.0.1:80", "192.0.2.1:80", "192.0.2.2:80"}


@pytest.mark.parametrize(
    "spec", [{"clusterIP": "None"}, {"type": "ExternalName", "clusterIP": "", "externalName": "x"}, {"clusterIP": ""}]
)
def test_a_service_that_is_a_name_only_has_no_rows(spec: Json) -> None:
    found = made(service(**spec), slice_of("10.0.0.1"))
    assert (found.rows, found.faults) == ([], [])


def test_a_service_of_another_proxy_has_no_rows_and_asks_for_nothing() -> None:
    found = service(externalIPs=["192.0.2.9"])
    assert vips_of(found) == {Vip("10.96.0.1", 80, "TCP"): 0, Vip("192.0.2.9", 80, "TCP"): 2}
    found["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": ""}
    made_of = made(found, slice_of("10.0.0.1"))
    assert (made_of.rows, made_of.faults, vips_of(found)) == ([], [], {})


def test_a_service_that_cannot_be_read_keeps_no_address_from_others() -> None:
    assert vips_of(service(sessionAffinity="ClientIP", sessionAffinityConfig="x")) == {}


def test_endpoints_that_are_not_ready_are_left_out_and_absent_conditions_are_good() -> None:
    found = made(service(), slice_of("10.0.0.1"), slice_of("10.0.0.2", ready=False), slice_of("10.0.0.3", ready=True))
    assert vips(found) == {"10.96.0.1:80": "10.0.0.1:8080,10.0.0.3:8080"}


def test_endpoints_that_end_and_still_serve_are_used_while_no_other_of_the_family_is_there() -> None:
    ending = slice_of("10.0.0.1", ready=False, serving=True, terminating=True)
    gone = slice_of("10.0.0.2", ready=False, serving=False, terminating=True)
    assert vips(made(service(), ending, gone)) == {"10.96.0.1:80": "10.0.0.1:8080"}
    assert vips(made(service(), ending, slice_of("10.0.0.3"))) == {"10.96.0.1:80": "10.0.0.3:8080"}
    other = slice_of("fd00::1", kind="IPv6")
    assert vips(made(service(), ending, other)) == {"10.96.0.1:80": "10.0.0.1:8080"}


def test_a_service_may_publish_addresses_that_are_not_ready() -> None:
    found = made(service(publishNotReadyAddresses=True), slice_of("10.0.0.1", ready=False, serving=False))
    assert vips(found) == {"10.96.0.1:80": "10.0.0.1:8080"}


def test_slices_of_names_and_ports_without_a_number_lead_nowhere() -> None:
    whole = slice_of("10.0.0.1") | {"ports": [{"name": "http"}]}
    found = made(service(), slice_of("web.example", kind="FQDN"), whole, slice_of("10.0.0.1", name="other"))
    assert vips(found) == {"10.96.0.1:80": ""}


def test_affinity_is_kept_as_long_as_ovn_can() -> None:
    assert options(made(service(sessionAffinity="ClientIP")))["affinity_timeout"] == "10800"
    config = {"clientIP": {"timeoutSeconds": 86400}}
    found = made(service(sessionAffinity="ClientIP", sessionAffinityConfig=config))
    assert options(found)["affinity_timeout"] == "65535"
    assert [(fault.reason, fault.field) for fault in found.faults] == [
        (Reason.OUT_OF_RANGE, "spec.sessionAffinityConfig.clientIP.timeoutSeconds")
    ]


def test_sources_that_only_an_outside_balancer_can_tell_apart_are_told_as_not_kept_out() -> None:
    found = made(service(loadBalancerSourceRanges=["203.0.113.0/24"]))
    assert [(one.reason, one.field) for one in found.faults] == [(Reason.UNSUPPORTED, "spec.loadBalancerSourceRanges")]
    assert balancers(found)


def test_traffic_that_shall_stay_on_a_node_is_told_that_it_does_not() -> None:
    found = made(service(internalTrafficPolicy="Local"), slice_of("10.0.0.1"))
    assert [(fault.reason, fault.field) for fault in found.faults] == [
        (Reason.UNSUPPORTED, "spec.internalTrafficPolicy")
    ]
    assert len(balancers(found)) == 1


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"clusterIPs": ["10.96.0.300"]}, "spec.clusterIPs"),
        ({"externalIPs": ["everywhere"]}, "spec.externalIPs"),
        ({"ports": [{"port": 70000}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 80, "protocol": "GRE"}]}, "spec.ports[0].protocol"),
        ({"ports": [{}]}, "spec.ports[0].port"),
        ({"ports": {}}, "spec.ports"),
    ],
)
def test_a_service_that_cannot_be_read_has_no_rows_and_the_field_is_named(spec: Json, field: str) -> None:
    found = made(service(**spec))
    assert found.rows == []
    assert [fault.field for fault in found.faults] == [field]


def test_a_slice_that_cannot_be_read_takes_no_other_with_it() -> None:
    bad = {"addressType": "IPv4", "endpoints": [{"addresses": ["x"]}], "ports": [{"name": "http", "port": 1}]}
    found = made(service(), bad, slice_of("10.0.0.1"))
    assert [fault.field for fault in found.faults] == ["endpoints.addresses"]
    found.faults.clear()
    assert vips(found) == {"10.96.0.1:80": "10.0.0.1:8080"}


def test_a_slice_says_whose_it_is_by_its_label() -> None:
    metadata = {"namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}
    assert service_of({"metadata": metadata}) == "shop/web"
    assert service_of({"metadata": {"namespace": "shop"}}) == ""
