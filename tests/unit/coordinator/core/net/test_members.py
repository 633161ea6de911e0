"""Members are made of ports and pods, and of machines."""

from dataclasses import replace
from typing import Any

import msgspec

from coordinator.core.machine.names import port_id
from coordinator.core.net.members import Member, MemberKind, machine_members, member_of
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.net import Port

Json = dict[str, Any]


def port(**spec: Any) -> Port:
    made: Json = {
        "podRef": {"name": "web", "uid": "u1"},
        "node": "n1",
        "networkRef": {"name": "pods"},
        "subnetRef": {"name": "front"},
        "mac": "02:00:00:00:00:01",
        "addresses": [{"cidr": "10.0.0.5/24"}, {"cidr": "FD00:0::5/64"}],
        "securityGroups": ["guarded"],
    }
    return Port.parse({"metadata": {"name": "web-x", "namespace": "shop"}, "spec": made | spec})


def pod(spec: Json | None = None, phase: str = "Running", uid: str = "u1") -> Json:
    metadata = {"name": "web", "namespace": "shop", "uid": uid, "labels": {"app": "web", "odd": 1}}
    return {"metadata": metadata, "spec": spec or {}, "status": {"phase": phase}}


def made(found: Member | None) -> Member:
    assert found is not None
    return found


def test_a_pods_port_has_its_labels_addresses_node_and_groups() -> None:
    assert member_of(port(), pod()) == Member(
        port_id="shop.web-x",
        namespace="shop",
        name="web",
        labels={"app": "web"},
        addresses=("10.0.0.5", "fd00::5"),
        node="n1",
        groups=frozenset({"guarded"}),
    )


def test_pods_that_ran_to_their_end_share_the_nodes_network_or_are_newer_are_no_members() -> None:
    assert member_of(port(), pod(phase="Succeeded")) is None
    assert member_of(port(), pod(phase="Failed")) is None
    assert member_of(port(), pod(spec={"hostNetwork": True})) is None
    assert member_of(port(), pod(uid="u2")) is None


def test_the_new_mirror_of_a_static_pod_speaks_for_the_container_that_runs_on() -> None:
    mirrored = replace_metadata(port(), {"dpupool.io/runtime-uid": "0123abcd"})
    newer = pod(uid="u2")
    newer["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "0123abcd"}
    assert made(member_of(mirrored, newer)).labels == {"app": "web"}
    assert member_of(port(), newer) is None
    newer["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "another"}
    assert member_of(mirrored, newer) is None


def replace_metadata(found: Port, annotations: dict[str, str]) -> Port:
    return msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, annotations=annotations))


def test_the_pods_own_network_is_that_without_an_attachment_or_the_one_said_to_be_it() -> None:
    assert made(member_of(port(), pod())).primary
    assert not made(member_of(port(attachment="shop/net1"), pod())).primary
    assert made(member_of(port(attachment="shop/net1", defaultNetwork=True), pod())).primary


def test_named_ports_are_of_containers_and_of_init_containers_that_stay() -> None:
    http, dns = {"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}
    spec = {
        "containers": [
            {
                "ports": [
                    http,
                    dns,
                    {"containerPort": 1},
                    *({"name": "bad", "containerPort": n} for n in ("x", 0, 65536)),
                ]
            },
            {},
        ],
        "initContainers": [
            {"ports": [{"name": "early", "containerPort": 1}]},
            {"restartPolicy": "Always", "ports": [http | {"containerPort": 9090}]},
        ],
    }
    found = made(member_of(port(), pod(spec=spec))).named_ports
    assert found == {"http": (("TCP", 8080), ("TCP", 9090)), "dns": (("UDP", 53),)}


def test_a_machine_is_a_member_by_each_nic_also_before_it_has_an_address() -> None:
    nics = [
        {"name": "eth0", "subnetRef": {"name": "front"}, "securityGroups": ["guarded"]},
        {"name": "eth1", "subnetRef": {"name": "bare"}},
    ]
    seen = [{"name": "eth0", "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.9/24"]}]
    uid = "6f1c0c52-1111-4222-8333-444455556666"
    machine = Machine.parse(
        {
            "metadata": {"name": "m", "namespace": "shop", "uid": uid, "labels": {"app": "db"}},
            "spec": {"image": "debian", "nics": nics},
            "status": {"nics": seen},
        }
    )
    first = Member(
        port_id=port_id(uid, "eth0"),
        namespace="shop",
        name="m",
        labels={"app": "db"},
        addresses=("10.0.0.9",),
        kind=MemberKind.MACHINE,
        groups=frozenset({"guarded"}),
        primary=False,
    )
    bare: Json = {"port_id": port_id(uid, "eth1"), "addresses": (), "groups": frozenset[str](), "switched": False}
    assert machine_members(machine, {"eth0": True}) == [first, replace(first, **bare)]
