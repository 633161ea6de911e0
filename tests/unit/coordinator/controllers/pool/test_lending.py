"""Servers change hands only when nothing is on them, and a pool asks for no more than it could be given."""

from coordinator.controllers.pool.crew import leavers
from coordinator.controllers.pool.lending import plan
from coordinator.core.objects.fleet import Host
from coordinator.core.objects.pool import RemovalEntry
from coordinator.core.pool.stock import fits, machine_name, template_node
from tests.unit.coordinator.controllers.pool.worlds import host, machine, pool, view


def held(name: str, by: str = "work", generation: int = 1, recalled: str = "", owner: str = "") -> Host:
    lease = {"pool": by, "generation": generation, "recalledFor": recalled}
    return host(name, owner=owner, lease=lease)


def test_an_owner_recalls_what_it_has_lent_and_the_borrower_is_to_clear_the_server() -> None:
    owner, borrower = pool("owner", replicas=1), pool("work", replicas=1)
    server = held("s1", owner="owner")
    looked = view([owner, borrower], [server], (machine("m1", "s1"),))
    planned = plan(looked)
    assert planned.ledger.leases["s1"].holder == "work"
    assert planned.ledger.leases["s1"].recalled_for == "owner"
    recalled = held("s1", owner="owner", recalled="owner")
    looked = view([owner, borrower], [recalled], (machine("m1", "s1"),))
    assert [leave.reason for leave in leavers(borrower, looked)] == ["server s1 goes back to pool owner"]


def test_a_recalled_server_goes_to_its_owner_with_a_new_generation_once_it_is_empty() -> None:
    recalled = held("s1", owner="owner", recalled="owner", generation=3)
    planned = plan(view([pool("owner", replicas=1), pool("work", replicas=1)], [recalled]))
    assert (planned.ledger.leases["s1"].holder, planned.ledger.leases["s1"].generation) == ("owner", 4)


def test_a_server_with_a_machine_is_never_released() -> None:
    looked = view([pool("work", replicas=0)], [held("s1")], (machine("m1", "s1"),))
    assert plan(looked).ledger.holder("s1") == "work"


def test_an_idle_server_that_nobody_wants_is_given_back() -> None:
    assert plan(view([pool("work", replicas=0)], [held("s1")])).ledger.holder("s1") == ""


def test_a_server_on_which_a_machine_failed_of_late_is_left_out() -> None:
    failed = host("s1", lease={"failedAt": "2026-01-01T11:50:00Z"})
    assert plan(view([pool("work", replicas=2)], [failed, host("s2")])).ledger.held_by("work") == ["s2"]
    failed = host("s1", lease={"failedAt": "2026-01-01T11:20:00Z"})
    assert plan(view([pool("work", replicas=2)], [failed, host("s2")])).ledger.held_by("work") == ["s1", "s2"]


def test_a_machine_that_takes_too_long_is_given_up_without_a_drain() -> None:
    late = machine("m1", "s1", made="2026-01-01T11:00:00Z", message="the BMC does not answer")
    found = leavers(pool("work", replicas=1), view([pool("work", replicas=1)], [held("s1")], (late,)))
    assert [(leave.failed, leave.drain) for leave in found] == [(True, False)]
    assert "the BMC does not answer" in found[0].reason


def test_a_machine_in_the_removals_is_not_counted_as_surplus() -> None:
    entry = RemovalEntry(machine="m1").json()
    work = pool("work", replicas=1, removals=[entry])
    both = (machine("m1", "s1"), machine("m2", "s2"))
    assert leavers(work, view([work], [held("s1"), held("s2")], both)) == []


def test_every_field_of_a_rule_must_fit() -> None:
    work = pool("work", rules=[{"models": ["m1"], "minimumCPUs": 96, "matchLabels": {"rack": "a"}}, {"models": ["m9"]}])
    assert fits(work, host("s1", labels={"rack": "a"}))
    assert not fits(work, host("s1", labels={"rack": "b"}))
    assert not fits(work, host("s1", labels={"rack": "a"}, hardware={"model": "m1", "cpus": 64, "memoryMiB": 1}))
    assert fits(work, host("s1", hardware={"model": "m9", "cpus": 1, "memoryMiB": 1}))


def test_a_template_is_the_smallest_server_less_what_is_reserved() -> None:
    work = pool("work", template={"image": "tiny", "reserved": {"cpu": "500m"}, "labels": {"a": "b"}})
    small = host("s2", hardware={"cpus": 4, "memoryMiB": 1024})
    made = template_node(work, [host("s1"), small])
    assert made is not None
    assert made["status"]["capacity"] == {"cpu": "4", "memory": "1024Mi", "pods": "110"}
    assert made["status"]["allocatable"]["cpu"] == "3500m"
    assert made["metadata"]["labels"]["a"] == "b"


def test_names_of_machines_are_host_names_and_differ_though_pools_and_servers_run_together() -> None:
    assert machine_name("a-b", "c") != machine_name("a", "b-c")
    assert len(machine_name("p" * 60, "s" * 200)) <= 63
