"""Pools lend idle servers and get them back."""

from dataclasses import replace

import pytest

from coordinator.core.pool.ledger import Ledger
from coordinator.core.pool.lending import Act, PoolKind, Server, ServerPool, Transfer, plan_lending
from coordinator.core.pool.selectors import parse_selector
from proto.errors import DpuError
from proto.reasons import Reason

VMS = ServerPool("vms", PoolKind.VIRTUAL_MACHINES, priority=10)
PODS = ServerPool("pods", PoolKind.CONTAINERS, priority=5)
METAL = ServerPool("metal", PoolKind.BARE_METAL, priority=1)
POOLS = (VMS, PODS, METAL)


def owned(owner: str, number: int) -> list[Server]:
    return [Server(f"{owner or 'common'}-{n}", owner) for n in range(number)]


def told(steps: tuple[Transfer, ...]) -> list[tuple[Act, str, str]]:
    return [(step.act, step.server, step.pool) for step in steps]


def test_a_pool_gets_its_own_servers_before_common_ones() -> None:
    plan = plan_lending(POOLS, owned("vms", 1) + owned("", 2), Ledger(), {"vms": 2})
    assert told(plan.transfers) == [(Act.GRANT, "vms-0", "vms"), (Act.GRANT, "common-0", "vms")]


def test_idle_servers_are_lent() -> None:
    plan = plan_lending(POOLS, owned("vms", 2), Ledger(), {"pods": 1})
    assert plan.transfers[0].sentence == "vms lends vms-0 to pods"


def test_an_owner_that_does_not_lend_keeps_its_idle_servers() -> None:
    plan = plan_lending((replace(VMS, lends=False), PODS), owned("vms", 2), Ledger(), {"pods": 1})
    assert (plan.transfers, plan.short) == ((), {"pods": 1})


def test_a_lent_server_comes_back_by_way_of_its_borrower() -> None:
    servers = owned("vms", 1)
    lent = plan_lending(POOLS, servers, Ledger(), {"pods": 1}).ledger
    recall = plan_lending(POOLS, servers, lent, {"vms": 1, "pods": 1})
    assert told(recall.transfers) == [(Act.RECALL, "vms-0", "vms")]
    assert recall.ledger.holder("vms-0") == "pods"
    again = plan_lending(POOLS, servers, recall.ledger, {"vms": 1, "pods": 1})
    assert again.transfers == ()
    released = again.ledger.release("vms-0", 1)
    back = plan_lending(POOLS, servers, released, {"vms": 1, "pods": 1})
    assert told(back.transfers) == [(Act.GRANT, "vms-0", "vms")]
    assert back.short == {"pods": 1}


def test_the_borrower_of_lowest_priority_gives_back_first() -> None:
    servers = owned("vms", 2)
    lent = Ledger().grant("vms-0", "pods").grant("vms-1", "metal")
    plan = plan_lending(POOLS, servers, lent, {"vms": 1, "pods": 1, "metal": 1})
    assert told(plan.transfers) == [(Act.RECALL, "vms-1", "vms")]


def test_a_minimum_is_kept_at_the_cost_of_lower_pools_above_theirs() -> None:
    servers = owned("", 3)
    held = Ledger().grant("common-0", "metal").grant("common-1", "metal").grant("common-2", "metal")
    pools = (replace(VMS, minimum=3), replace(METAL, minimum=1))
    plan = plan_lending(pools, servers, held, {"metal": 3})
    assert told(plan.transfers) == [(Act.RECALL, "common-0", "vms"), (Act.RECALL, "common-1", "vms")]


def test_a_maximum_is_never_exceeded() -> None:
    plan = plan_lending([replace(VMS, maximum=2)], owned("", 5), Ledger(), {"vms": 9})
    assert len(plan.ledger.held_by("vms")) == 2


def test_only_servers_of_the_right_kind_are_given() -> None:
    gpu = replace(VMS, selector=parse_selector({"matchLabels": {"model": "g"}}, "selector"))
    servers = [Server("a", labels={"model": "c"}), Server("b", labels={"model": "g"}), Server("c", healthy=False)]
    plan = plan_lending([gpu], servers, Ledger(), {"vms": 3})
    assert told(plan.transfers) == [(Act.GRANT, "b", "vms")]
    assert plan.sentence == "1 grant; vms lacks 2"


def test_a_reservation_that_nobody_needs_is_dropped() -> None:
    kept = Ledger().grant("vms-0", "pods").recall("vms-0", "vms").release("vms-0", 1)
    assert kept.reserved == {"vms-0": "vms"}
    plan = plan_lending(POOLS, owned("vms", 1), kept, {"pods": 1})
    assert told(plan.transfers) == [(Act.UNRESERVE, "vms-0", "vms"), (Act.LEND, "vms-0", "pods")]


def test_a_late_release_is_refused() -> None:
    ledger = Ledger().grant("s", "pods").release("s", 1).grant("s", "vms")
    with pytest.raises(DpuError) as refused:
        ledger.release("s", 1)
    assert refused.value.reason is Reason.STALE_GENERATION
