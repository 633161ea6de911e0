"""What a DPU holds of others is told from what is the new tenant's own, and sorted by whether anybody still has it."""

from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.machine.leftovers import Held, sort_out


def disk(owner: str, *, key: str = "d", generation: int = 1) -> Held:
    return Held(what=f"disk {key}", id=key, machine_id=owner, generation=generation)


def test_an_own_thing_and_a_disk_that_somebody_attached_to_the_host_are_no_leftovers() -> None:
    found = sort_out("me", [disk("me"), disk("", key="attached")], {}, {"attached"}, 0)
    assert (found.orphans, found.kept) == ({}, ())


def test_a_thing_of_a_machine_that_exists_is_kept_and_named() -> None:
    found = sort_out("me", [disk("other")], {"me": "default/me", "other": "default/bm-07"}, set(), 0)
    assert (found.orphans, found.kept) == ({}, ("disk d of machine default/bm-07",))


def test_things_of_a_machine_that_is_no_more_are_orphans_with_their_highest_generation() -> None:
    found = sort_out("me", [disk("gone", generation=3), disk("gone", key="e", generation=7)], {"me": "x"}, set(), 1)
    assert (found.orphans, found.kept) == ({"gone": 7}, ())


def test_a_disk_of_nobody_and_a_seed_without_a_name_are_kept() -> None:
    found = sort_out("me", [disk("")], {}, set(), 2)
    assert found.kept == ("disk d of nobody", "2 seed disks")


@given(st.lists(st.sampled_from(["me", "alive", "gone", ""])), st.integers(0, 3))
def test_only_a_dpu_with_nothing_of_others_is_clear(owners: list[str], unnamed: int) -> None:
    held = [disk(owner, key=str(index)) for index, owner in enumerate(owners)]
    found = sort_out("me", held, {"me": "default/me", "alive": "default/alive"}, set(), unnamed)
    clear = not found.orphans and not found.kept
    assert clear == (set(owners) <= {"me"} and unnamed == 0)
    assert "me" not in found.orphans
    assert "alive" not in found.orphans
