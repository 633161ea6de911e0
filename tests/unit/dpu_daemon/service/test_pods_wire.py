"""What the wire may say of pods' ports: each failure names the field, nothing else is kept."""

from typing import Any

import pytest
from google.protobuf.message import Message

from dpu_daemon.model.assignment import Bandwidth, PodRoute, RefusedPod
from dpu_daemon.service.pods_wire import from_assignment, to_ask, to_assignments, to_holders, to_keys, to_refused
from proto.dpu.v1 import pods_pb2
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.pods import assignment

FULL = assignment(
    1,
    routes=(PodRoute(dst="10.0.0.0/8", via="10.5.0.1"), PodRoute(dst="192.0.2.0/24")),
    dns=("10.96.0.10",),
    bandwidth=Bandwidth(ingress_bps=1, ingress_burst_bits=2, egress_bps=3, egress_burst_bits=4),
    attachment="default/fast",
    bridge="br-phy",
    vlan=7,
)


def _changed(message: Message, path: str, value: Any) -> None:
    *outer, last = path.split(".")
    for step in outer:
        name, _, index = step.partition("[")
        message = getattr(message, name)
        message = message[int(index.rstrip("]"))] if index else message  # type: ignore[index]
    name, _, index = last.partition("[")
    if index:
        getattr(message, name)[int(index.rstrip("]"))] = value
    else:
        setattr(message, name, value)


def test_an_assignment_comes_through_as_it_was_sent() -> None:
    request = pods_pb2.PutAssignmentsRequest(assignments=[from_assignment(FULL), from_assignment(assignment(2))])
    assert to_assignments(request) == (FULL, assignment(2))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port_id", ""),
        ("port_id", "a/b"),
        ("port_id", "x" * 321),
        ("generation", 0),
        ("node", ""),
        ("node", "Host 1"),
        ("pod_namespace", ""),
        ("pod_name", "UPPER"),
        ("pod_name", "a" * 254),
        ("pod_uid", "not a uid"),
        ("interface", "a/b"),
        ("interface", "sixteen-letters-"),
        ("interface", ".."),
        ("network", ""),
        ("mac", ""),
        ("mac", "01:00:00:00:00:01"),
        ("mac", "00:00:00:00:00:00"),
        ("addresses[0].cidr", "10.5.0.3"),
        ("addresses[0].cidr", "nonsense"),
        ("addresses[0].gateway", "nonsense"),
        ("addresses[0].gateway", "fd00::1"),
        ("routes[0].dst", "10.0.0.1/8"),
        ("routes[0].via", "here"),
        ("routes[0].via", "fd00::1"),
        ("addresses[0].cidr", "fe80::5%eth0/64"),
        ("addresses[0].gateway", "fe80::1%eth0"),
        ("dns[0]", "fe80::53%eth0"),
        ("mtu", 9999),
        ("mtu", 100),
        ("dns[0]", "resolver"),
        ("bandwidth.ingress_bps", 10**13 + 1),
        ("bandwidth.egress_bps", 10**18),
        ("bandwidth.ingress_burst_bits", 1 << 41),
        ("attachment", "no-slash"),
        ("bridge", "a-bridge-of-sixteen"),
        ("vlan", 4095),
    ],
)
def test_what_is_wrong_in_an_assignment_is_named(field: str, value: Any) -> None:
    wire = from_assignment(FULL)
    _changed(wire, field, value)
    with pytest.raises(DpuError) as refused:
        to_assignments(pods_pb2.PutAssignmentsRequest(assignments=[wire]))
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, f"assignments[0].{field}")
    assert refused.value.remedy


def test_a_port_is_named_once_in_a_request() -> None:
    wire = from_assignment(FULL)
    with pytest.raises(DpuError, match="named twice"):
        to_assignments(pods_pb2.PutAssignmentsRequest(assignments=[wire, wire]))


def test_a_request_has_a_bound() -> None:
    wire = [pods_pb2.Assignment()] * 20_001
    with pytest.raises(DpuError, match="there are 20001"):
        to_assignments(pods_pb2.PutAssignmentsRequest(assignments=wire))


def _ask(**changes: Any) -> pods_pb2.AcquirePortRequest:
    good = {"container_id": "c1", "interface": "eth0", "pod_namespace": "default", "pod_name": "web-0"}
    return pods_pb2.AcquirePortRequest(**{**good, **changes})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("container_id", ""),
        ("container_id", "-c"),
        ("container_id", "c/../../x"),
        ("interface", ""),
        ("interface", "a b"),
        ("interface", "a:b"),
        ("pod_namespace", ""),
        ("pod_name", "x_y"),
        ("pod_uid", "a;b"),
        ("network", "No"),
        ("vf", 5000),
        ("addresses", ["x"]),
        ("addresses", ["10.0.0.1/99"]),
        ("mac", "nonsense"),
    ],
)
def test_what_is_wrong_in_an_ask_is_named(field: str, value: Any) -> None:
    with pytest.raises(DpuError) as refused:
        to_ask(_ask(**{field: value, "has_vf": True}))
    assert refused.value.reason is Reason.INVALID
    assert refused.value.field == (f"{field}[0]" if field == "addresses" else field)


def test_an_ask_leaves_open_what_it_does_not_say() -> None:
    asked = to_ask(_ask())
    assert (asked.vf, asked.mac, asked.addresses, asked.network, asked.pod_uid) == (None, "", (), "", "")
    whole = to_ask(_ask(has_vf=True, vf=0, mac="02:AB:00:00:00:01", addresses=["10.5.0.3", "fd00::3/64"]))
    assert (whole.vf, whole.mac, whole.addresses) == (0, "02:ab:00:00:00:01", ("10.5.0.3", "fd00::3/64"))


def test_keys_and_holders_are_checked_by_place() -> None:
    key = pods_pb2.AssignmentKey(port_id="a.b", generation=0)
    with pytest.raises(DpuError) as refused:
        to_keys(pods_pb2.DeleteAssignmentsRequest(assignments=[key]))
    assert refused.value.field == "assignments[0].generation"
    one = pods_pb2.Holder(container_id="c1", interface="eth/0")
    with pytest.raises(DpuError) as refused:
        to_holders(pods_pb2.CollectPortsRequest(valid=[one]))
    assert refused.value.field == "valid[0].interface"


def _refusal(**changes: str) -> pods_pb2.PutAssignmentsRequest:
    fields = {"pod_namespace": "default", "pod_name": "web", "message": "subnet pods-a has no free address"} | changes
    pods = [pods_pb2.RefusedPod(**fields)]
    return pods_pb2.PutAssignmentsRequest(refused=pods_pb2.RefusedPods(node="node-1", pods=pods))


def test_who_gets_no_port_comes_through_and_what_is_not_said_is_nobody() -> None:
    (found,) = to_refused(_refusal(pod_uid="uid-1", field="spec", remedy="wait"))
    message = "subnet pods-a has no free address"
    assert found == RefusedPod(
        pod_namespace="default", pod_name="web", pod_uid="uid-1", message=message, field="spec", remedy="wait"
    )
    assert to_refused(pods_pb2.PutAssignmentsRequest()) == ()
    (long,) = to_refused(_refusal(message="x" * 10_000))
    assert len(long.message) < 5_000


@pytest.mark.parametrize(
    ("field", "value"), [("pod_namespace", ""), ("pod_name", "a/b"), ("pod_uid", "not a uid"), ("message", "")]
)
def test_a_refusal_of_nobody_or_without_a_reason_is_refused_itself(field: str, value: str) -> None:
    with pytest.raises(DpuError) as refused:
        to_refused(_refusal(**{field: value}))
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, f"refused.pods[0].{field}")
