"""Which server a machine gets, and the sentence about the others."""

import pytest

from coordinator.core.machine.claims import claimed_host, is_stray
from coordinator.core.machine.hosts import choose_host
from coordinator.core.objects.fleet import Dpu, Host
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.meta import Json
from coordinator.core.pool.stock import machine_name


def host(name: str, *, phase: str = "Available", labels: Json | None = None, **spec: object) -> Host:
    wanted: Json = {
        "dpuRef": {"name": "dpu-1"},
        "bmc": {"address": "ipmi://1.2.3.4", "credentialsSecretRef": {"namespace": "a", "name": "b"}},
        "hardware": {"cpus": 4, "memoryMiB": 8192},
    }
    meta = {"name": name, "labels": labels or {}}
    return Host.parse({"metadata": meta, "spec": wanted | spec, "status": {"phase": phase}})


def dpu(phase: str = "Online") -> dict[str, Dpu]:
    found = {"metadata": {"name": "dpu-1"}, "spec": {"address": "1.2.3.4:7"}, "status": {"phase": phase}}
    return {"dpu-1": Dpu.parse(found)}


def machine(*, status: Json | None = None, **spec: object) -> Machine:
    meta = {"name": "bm", "namespace": "default", "uid": "u1"}
    return Machine.parse({"metadata": meta, "spec": {"image": "tiny"} | spec, "status": status or {}})


CLAIM = {"namespace": "default", "name": "x", "uid": "other"}


def test_the_smallest_host_that_fits_comes_first_and_then_the_name_decides() -> None:
    hosts = [host("big", hardware={"cpus": 64, "memoryMiB": 1}), host("b"), host("a")]
    assert choose_host(machine(), hosts, dpu()).fitting == ("a", "b", "big")


def test_every_reason_is_counted() -> None:
    hosts = [
        host("a", claimRef=CLAIM),
        host("b", claimRef=CLAIM),
        host("c", unschedulable=True),
        host("d", hardware={"cpus": 1, "memoryMiB": 8192}),
    ]
    choice = choose_host(machine(resources={"cpus": 2}), hosts, dpu())
    assert choice.fitting == ()
    assert choice.why == (
        "0/4 hosts are available: 2 held by another machine, 1 unschedulable,"
        " 1 with less than 2 CPUs (spec.resources.cpus)"
    )


def test_labels_memory_and_the_named_host_are_filters() -> None:
    found = host("a", labels={"rack": "1"})
    assert choose_host(machine(hostSelector={"matchLabels": {"rack": "1"}}), [found], dpu()).fitting == ("a",)
    assert (
        "without label rack=2" in choose_host(machine(hostSelector={"matchLabels": {"rack": "2"}}), [found], dpu()).why
    )
    assert "less than 9999 MiB" in choose_host(machine(resources={"memoryMiB": 9999}), [found], dpu()).why
    assert "not named by spec.hostRef" in choose_host(machine(hostRef={"name": "z"}), [found], dpu()).why


def test_hosts_without_health_are_no_choice() -> None:
    assert "whose DPU dpu-1 is offline" in choose_host(machine(), [host("a")], dpu("Offline")).why
    assert "whose DPU dpu-1 is being put in order" in choose_host(machine(), [host("a")], dpu("Degraded")).why
    assert "whose DPU dpu-1 is not registered" in choose_host(machine(), [host("a")], {}).why
    assert "not looked at yet" in choose_host(machine(), [host("a", phase="Pending")], dpu()).why
    assert "unhealthy" in choose_host(machine(), [host("a", phase="Unhealthy")], dpu()).why


def of_pool(pool: str, server: str, name: str = "") -> Machine:
    """The machine that a pool's loop makes on a server."""
    meta = {"namespace": "default", "uid": "u1", "labels": {"dpupool.io/pool": pool}}
    meta["name"] = name or machine_name(pool, server)
    return Machine.parse({"metadata": meta, "spec": {"image": "tiny", "hostRef": {"name": server}}})


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"lease": {"pool": "work", "generation": 3}}, "leased to pool work"),
        ({"lease": {"reservedFor": "work", "generation": 3}}, "kept for pool work"),
        ({"poolRef": {"name": "work"}}, "owned by pool work (spec.poolRef)"),
    ],
)
def test_a_machine_that_a_person_made_gets_no_server_that_is_in_the_hands_of_a_pool(spec: Json, why: str) -> None:
    for asked in (machine(), machine(hostRef={"name": "a"}), of_pool("work", "a", name="copied")):
        assert choose_host(asked, [host("a", **spec)], dpu()).why == f"0/1 hosts are available: 1 {why}"


def test_a_pools_machine_gets_the_server_that_is_leased_to_its_pool_and_no_other() -> None:
    lease = {"pool": "work", "generation": 3}
    assert choose_host(of_pool("work", "a"), [host("a", lease=lease)], dpu()).fitting == ("a",)
    assert choose_host(of_pool("work", "a"), [host("a", lease=lease, poolRef={"name": "x"})], dpu()).fitting == ("a",)
    assert choose_host(of_pool("work", "a"), [host("b", lease=lease)], dpu()).fitting == ()
    for other in ({}, {"pool": "rest", "generation": 4}, {"reservedFor": "work", "generation": 4}):
        choice = choose_host(of_pool("work", "a"), [host("a", lease=other)], dpu())
        assert choice.why == "0/1 hosts are available: 1 not leased to pool work, whose machine this is"


def test_an_empty_pool_and_a_host_that_does_not_exist_are_told_apart() -> None:
    assert choose_host(machine(), [], {}).why == "0/0 hosts are available"
    assert "spec.hostRef.name" in choose_host(machine(hostRef={"name": "z"}), [], {}).why


def test_a_machine_keeps_the_host_that_its_status_names() -> None:
    assert claimed_host(machine(), []) is None
    both = [host("a"), host("b")]
    named = claimed_host(machine(status={"hostRef": {"name": "b"}}), both)
    assert named is not None
    assert named.metadata.name == "b"
    first = claimed_host(machine(), both)
    assert first is not None
    assert first.metadata.name == "a"


def test_a_claim_is_stray_when_its_machine_is_gone_made_anew_or_elsewhere() -> None:
    mine = host("a", claimRef={"namespace": "default", "name": "bm", "uid": "u1"})
    assert not is_stray(mine, machine())
    assert not is_stray(mine, machine(status={"hostRef": {"name": "a"}}))
    assert is_stray(mine, machine(status={"hostRef": {"name": "b"}}))
    assert is_stray(mine, None)
    assert is_stray(host("a", claimRef=CLAIM), machine())
