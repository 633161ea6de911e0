"""The lab's networks as data."""

import re

from hypothesis import given
from hypothesis import strategies as st

from lab import namespace, topology
from lab.settings import HOSTS_AT_MOST, POD_NODES_AT_MOST, LabSettings
from lab.topology import Topology

plans = st.builds(
    lambda name, hosts, pod_nodes: topology.plan(LabSettings(name=name, hosts=hosts, pod_nodes=pod_nodes)),
    st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True),
    st.integers(1, HOSTS_AT_MOST),
    st.integers(0, POD_NODES_AT_MOST),
)


@given(plans)
def test_no_address_is_given_twice(plan: Topology) -> None:
    addresses = [link.address.ip for link in plan.links if link.address]
    addresses += [address.ip for _, address in plan.bridges if address]
    assert len(set(addresses)) == len(addresses)


@given(plans)
def test_interface_names_fit_the_kernel_and_are_unique_where_they_are(plan: Topology) -> None:
    near = [(link.netns, link.name) for link in plan.links] + list(plan.taps)
    far = [link.far_name for link in plan.links] + [name for name, _ in plan.bridges]
    assert len(set(near)) == len(near)
    assert len(set(far)) == len(far)
    assert all(len(name) <= 15 for name in [*far, *(name for _, name in near)])


@given(plans)
def test_every_link_ends_at_a_bridge_and_in_a_namespace_that_is_made(plan: Topology) -> None:
    bridges = {name for name, _ in plan.bridges}
    assert all(link.bridge in bridges and link.netns in plan.netns for link in plan.links)
    assert all(netns in plan.netns for netns, _ in plan.taps)


@given(plans)
def test_only_storage_node_and_dpus_are_on_the_storage_network(plan: Topology) -> None:
    inside = {link.netns.split("-")[1].rstrip("0123456789") for link in plan.links if link.bridge == "storage"}
    assert inside == {"st", "dpu"}


def test_two_hosts_have_two_dpus_with_their_own_uplinks_and_functions() -> None:
    plan = topology.plan(LabSettings(name="x", hosts=2))
    assert plan.netns == ("x-fab", "x-mgmt", "x-st", "x-dpu1", "x-dpu2", "x-bmc1", "x-bmc2")
    assert [link.netns for link in plan.links if link.bridge == "fabric"] == ["x-dpu1", "x-dpu2"]
    assert plan.taps[:2] == (("x-dpu1", "pf0vf0"), ("x-dpu1", "pf0vf1"))
    assert len(plan.taps) == 8


def test_the_gateway_of_the_machines_is_where_the_demo_pings_from() -> None:
    plan = topology.plan(LabSettings())
    assert dict(plan.bridges)["fabric"] == topology.address_in(topology.FABRIC, 1)
    assert plan.switch == "dpl-fab"


@given(plans)
def test_every_namespace_is_recognised_as_the_labs_own(plan: Topology) -> None:
    parts = re.compile(rf"[a-z0-9]+-({namespace.PARTS})")
    assert all(parts.fullmatch(name) for name in plan.netns)
