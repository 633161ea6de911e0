"""Any endpoints on any nodes: each chassis uses what kube-proxy on a node of its own would use."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.net.rows import Table, gather
from coordinator.core.net.services import service_rows

NODES = ("n1", "n2", "n3", "strange", "")
CHASSIS = {"n1": "c1", "n2": "c2", "n3": "c3"}
STATES: tuple[dict[str, bool], ...] = (
    {},
    {"ready": True},
    {"ready": False},
    {"ready": False, "serving": True, "terminating": True},
    {"ready": False, "serving": False, "terminating": True},
)

Endpoint = tuple[str, int]
"""Node, and number of the state."""

ENDPOINTS = st.lists(st.tuples(st.sampled_from(NODES), st.integers(0, len(STATES) - 1)), max_size=8)


def _used_by_kube_proxy(endpoints: list[Endpoint], node: str) -> set[str]:
    """The rule of CategorizeEndpoints, for one node and no topology."""
    local = {f"10.0.0.{at}:8080": STATES[state] for at, (where, state) in enumerate(endpoints, 1) if where == node}
    ready = {one for one, state in local.items() if state.get("ready", True)}
    return ready or {one for one, state in local.items() if state.get("serving") and state.get("terminating")}


def _service(endpoints: list[Endpoint]) -> tuple[dict[str, Any], dict[str, Any]]:
    spec = {"clusterIP": "10.96.0.1", "ports": [{"port": 80}], "internalTrafficPolicy": "Local"}
    listed = [
        {"addresses": [f"10.0.0.{at}"], "nodeName": node, "conditions": STATES[state]}
        for at, (node, state) in enumerate(endpoints, 1)
    ]
    slice_ = {"addressType": "IPv4", "endpoints": listed, "ports": [{"port": 8080}]}
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}, slice_


@given(ENDPOINTS)
def test_each_chassis_uses_what_kube_proxy_would(endpoints: list[Endpoint]) -> None:
    service, slice_ = _service(endpoints)
    rows = gather(service_rows(service, [slice_], ["one"], chassis_of=lambda node: CHASSIS.get(node, "")).rows)
    (balancer,) = (row for row in rows.values() if row.table is Table.LOAD_BALANCER)
    ((vip, to),) = balancer.columns["vips"].items()  # type: ignore[union-attr]
    address, backends = vip.removeprefix("^").partition(":")[0], str(to).removeprefix("^")
    known = {row.key: row.columns["variables"] for row in rows.values() if row.table is Table.TEMPLATE_VARIABLES}
    for node, chassis in CHASSIS.items():
        used = _used_by_kube_proxy(endpoints, node)
        assert (chassis in known) == bool(used)
        if used:
            variables: Any = known[chassis]
            assert set(variables) == {address, backends}
            assert variables[address] == "10.96.0.1"
            assert set(variables[backends].split(",")) == used
