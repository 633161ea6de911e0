"""Services whose traffic stays on its node: which endpoints each chassis has."""

from collections.abc import Mapping
from typing import Any

from coordinator.core.net.rows import Row, Table, gather, ref
from coordinator.core.net.services import Refused, ServiceRows, service_rows
from coordinator.core.net.store import RowStore
from coordinator.core.net.vips import Vip
from proto.errors import DpuError
from proto.reasons import Reason

Json = dict[str, Any]

CHASSIS = {"n1": "c1", "n2": "c2"}
READY: Json = {}
ENDING: Json = {"ready": False, "serving": True, "terminating": True}


def service(name: str = "web", **spec: Any) -> Json:
    given: Json = {"clusterIP": "10.96.0.1", "ports": [{"port": 80}], "internalTrafficPolicy": "Local"}
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": given | spec}


def slice_of(*endpoints: tuple[str, str, Json], kind: str = "IPv4", port: int = 8080, protocol: str = "TCP") -> Json:
    """Endpoints by address, node and conditions."""
    listed = [{"addresses": [address], "nodeName": node, "conditions": given} for address, node, given in endpoints]
    return {"addressType": kind, "endpoints": listed, "ports": [{"port": port, "protocol": protocol}]}


def made(found: Json, *slices: Json, chassis: Mapping[str, str] = CHASSIS) -> ServiceRows:
    return service_rows(found, slices, ["front", "back"], chassis_of=lambda node: chassis.get(node, ""))


def of(table: Table, found: ServiceRows) -> dict[str, Row]:
    return {row.key: row for row in gather(found.rows).values() if row.table is table}


def cell(row: Row, name: str) -> Any:
    """What a column holds."""
    return row.columns[name]


def served(found: ServiceRows) -> dict[str, dict[str, str]]:
    """What each chassis makes of the template load balancers: endpoints by virtual address and port."""
    assert found.faults == []
    return {
        chassis: {
            f"{variables[address.removeprefix('^')]} {port}": variables[to.removeprefix("^")]
            for balancer in of(Table.LOAD_BALANCER, found).values()
            for address, port, to in _parts(balancer)
            if to.removeprefix("^") in variables
        }
        for chassis, row in of(Table.TEMPLATE_VARIABLES, found).items()
        for variables in [cell(row, "variables")]
    }


def _parts(balancer: Row) -> list[tuple[str, str, str]]:
    vips = cell(balancer, "vips").items()
    return [(*vip.rsplit(":", 1), to) for vip, to in vips if vip.startswith("^")]


def test_each_chassis_has_the_ready_endpoints_of_its_own_node_alone() -> None:
    found = made(service(), slice_of(("10.0.0.1", "n1", READY), ("10.0.0.2", "n2", READY), ("10.0.0.3", "n1", READY)))
    assert served(found) == {
        "c1": {"10.96.0.1 80": "10.0.0.1:8080,10.0.0.3:8080"},
        "c2": {"10.96.0.1 80": "10.0.0.2:8080"},
    }
    assert {key: cell(row, "chassis") for key, row in of(Table.TEMPLATE_VARIABLES, found).items()} == {
        "c1": "c1",
        "c2": "c2",
    }


def test_endpoints_of_no_node_or_a_strange_one_are_nobodys() -> None:
    found = made(service(), slice_of(("10.0.0.1", "", READY), ("10.0.0.2", "n9", READY)))
    assert served(found) == {}
    nameless = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 8080}]}
    assert served(made(service(), nameless)) == {}


def test_nodes_of_one_chassis_share_their_endpoints() -> None:
    slices = slice_of(("10.0.0.1", "n1", READY), ("10.0.0.2", "n2", READY))
    found = made(service(), slices, chassis={"n1": "c", "n2": "c"})
    assert served(found) == {"c": {"10.96.0.1 80": "10.0.0.1:8080,10.0.0.2:8080"}}


def test_endpoints_that_end_serve_their_node_while_it_has_no_other_whatever_other_nodes_have() -> None:
    dead: Json = {"ready": False, "serving": False, "terminating": True}
    found = made(
        service(),
        slice_of(("10.0.0.1", "n1", ENDING), ("10.0.0.2", "n2", ENDING), ("10.0.0.3", "n2", READY)),
        slice_of(("10.0.0.4", "n1", dead), ("10.0.0.5", "n1", {"ready": False})),
    )
    assert served(found) == {"c1": {"10.96.0.1 80": "10.0.0.1:8080"}, "c2": {"10.96.0.1 80": "10.0.0.3:8080"}}


def test_what_no_load_balancer_has_turned_is_refused_on_every_switch_above_all_policies() -> None:
    ports = [{"port": 80}, {"port": 443}, {"port": 53, "protocol": "UDP"}]
    found = made(service(ports=ports))
    acls = of(Table.ACL, found)
    assert {key: cell(row, "match") for key, row in acls.items()} == {
        "shop/web.tcp.local4": "(ip4.dst == 10.96.0.1 && tcp.dst == 443) || (ip4.dst == 10.96.0.1 && tcp.dst == 80)",
        "shop/web.udp.local4": "(ip4.dst == 10.96.0.1 && udp.dst == 53)",
    }
    for row in acls.values():
        assert (cell(row, "action"), cell(row, "direction"), cell(row, "priority")) == (
            "reject",
            "from-lport",
            2002,
        )
        assert cell(row, "options") == {"apply-after-lb": "true"}
    switches = of(Table.SWITCH, found)
    assert set(switches) == {"subnet.front", "subnet.back"}
    for row in switches.values():
        assert cell(row, "acls") == {ref(Table.ACL, key) for key in acls}
        assert cell(row, "load_balancer") == {ref(Table.LOAD_BALANCER, key) for key in acls}


def test_both_families_have_load_balancers_of_their_own() -> None:
    found = made(
        service(clusterIPs=["10.96.0.1", "fd96::1"]),
        slice_of(("10.0.0.1", "n1", READY)),
        slice_of(("fd00::2", "n2", READY), kind="IPv6"),
    )
    assert served(found) == {"c1": {"10.96.0.1 80": "10.0.0.1:8080"}, "c2": {"fd96::1 80": "[fd00::2]:8080"}}
    families = {cell(row, "options")["address-family"] for row in of(Table.LOAD_BALANCER, found).values()}
    assert families == {"ipv4", "ipv6"}


def test_addresses_from_outside_go_to_endpoints_of_all_nodes() -> None:
    slices = slice_of(("10.0.0.1", "n1", READY), ("10.0.0.2", "n2", READY))
    found = made(service(externalIPs=["192.0.2.1"]), slices)
    ordinary = of(Table.LOAD_BALANCER, found)["shop/web.tcp"]
    assert cell(ordinary, "vips") == {"192.0.2.1:80": "10.0.0.1:8080,10.0.0.2:8080"}
    assert "template" not in cell(ordinary, "options")


def test_a_client_is_kept_by_a_hash_and_that_is_told() -> None:
    found = made(service(sessionAffinity="ClientIP"), slice_of(("10.0.0.1", "n1", READY)))
    (balancer,) = of(Table.LOAD_BALANCER, found).values()
    assert cell(balancer, "selection_fields") == {"ip_src"}
    assert "affinity_timeout" not in cell(balancer, "options")
    assert [(fault.reason, fault.field) for fault in found.faults] == [(Reason.UNSUPPORTED, "spec.sessionAffinity")]


def test_a_network_that_does_not_get_an_address_has_neither_load_balancer_nor_refusal() -> None:
    why = DpuError(Reason.ALREADY_EXISTS, "somebody has it")

    def refusal(vip: Vip, _field: str) -> Refused | None:
        return Refused((why,), frozenset({"side"})) if vip.number == 80 else None

    spec = service(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "b"}])
    found = service_rows(
        spec, [], ["one", "two"], refusal, {"one": "main", "two": "side"}.__getitem__, lambda node: node
    )
    switches = of(Table.SWITCH, found)
    all_over, besides = "shop/web.tcp.local4", "shop/web.tcp.local4.besides(side)"
    assert cell(switches["subnet.two"], "acls") == {ref(Table.ACL, all_over)}
    assert cell(switches["subnet.one"], "acls") == {ref(Table.ACL, all_over), ref(Table.ACL, besides)}


def test_services_share_the_row_of_a_chassis_and_one_leaves() -> None:
    store = RowStore()
    slices = slice_of(("10.0.0.1", "n1", READY))
    store.replace(("service", "shop/web"), made(service(), slices).rows)
    row = ref(Table.TEMPLATE_VARIABLES, "c1")
    alone = store.get(row)
    store.replace(("service", "shop/other"), made(service("other", clusterIP="10.96.0.2"), slices).rows)
    both = store.get(row)
    assert alone is not None
    assert both is not None
    assert len(cell(both, "variables")) == 4
    store.replace(("service", "shop/other"), [])
    assert store.get(row) == alone
    store.replace(("service", "shop/web"), [])
    assert row not in store
