"""Identity, fences and states: pure, total, the same at every call."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpu_daemon.model.disk import AttachmentState
from dpu_daemon.model.fence import Fence, FenceScope, raised
from dpu_daemon.model.identity import (
    HandleKind,
    free_function,
    free_slot,
    handle_for,
    is_disk_handle,
    nguid_for,
    serial_for,
)
from dpu_daemon.model.port import PortState
from dpu_daemon.model.seed import attachment_id_of
from dpu_daemon.model.state import attachment_state, port_state
from tests.unit.dpu_daemon.things import DISK, PORT


@given(st.text(), st.sampled_from(HandleKind))
def test_a_handle_fits_every_block_layer_and_is_the_same_at_every_call(subject: str, kind: HandleKind) -> None:
    handle = handle_for(kind, subject, ())
    assert handle == handle_for(kind, subject, ())
    assert len(handle) == 13
    assert handle[0] == kind.value
    assert len(serial_for(handle)) <= 20


def test_two_ids_never_share_a_handle() -> None:
    first = handle_for(HandleKind.DISK, "a", ())
    second = handle_for(HandleKind.DISK, "a", {first})
    third = handle_for(HandleKind.DISK, "a", {first, second})
    assert len({first, second, third}) == 3


def test_our_handles_are_told_from_others() -> None:
    assert is_disk_handle(handle_for(HandleKind.DISK, "x", ()))
    assert is_disk_handle(handle_for(HandleKind.SEED, "x", ()))
    assert not any(
        is_disk_handle(name) for name in ("", "data", "d123", "v0123456789ab", "d0123456789AB", "d0123456789abc")
    )


@given(st.text())
def test_an_nguid_is_32_hex_digits(subject: str) -> None:
    assert len(nguid_for(subject)) == 32
    assert int(nguid_for(subject), 16) > 0


@pytest.mark.parametrize(
    ("taken", "boots", "slot"),
    [
        ((), True, 0),
        ((), False, 1),
        ((1, 2), False, 3),
        ((1, 2, 3), False, 0),
        ((0,), True, 1),
        ((0, 1, 2, 3), False, None),
        ((0, 1, 2, 3), True, None),
    ],
)
def test_slot_0_is_kept_for_a_boot_disk_while_others_are_free(
    taken: tuple[int, ...], slot: int | None, *, boots: bool
) -> None:
    assert free_slot(4, taken, boots=boots) == slot


def test_a_bus_without_slots_has_none_free() -> None:
    assert free_slot(0, (), boots=False) is free_slot(0, (), boots=True) is None


def test_the_lowest_free_function_is_taken() -> None:
    assert free_function(3, {0, 2}) == 1
    assert free_function(2, {0, 1}) is None


def _fence(generation: int, *, closed: bool = False) -> Fence:
    return Fence(scope=FenceScope.VOLUME, subject="v", generation=generation, closed=closed)


def test_an_open_fence_lets_its_own_generation_through_and_refuses_lower_ones() -> None:
    assert not _fence(3).refuses(3)
    assert _fence(3).refuses(2)
    assert _fence(3).ignores(2)
    assert not _fence(3).ignores(3)


def test_a_closed_fence_refuses_the_generation_that_was_taken_away() -> None:
    assert _fence(3, closed=True).refuses(3)
    assert not _fence(3, closed=True).refuses(4)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=12))
def test_a_fence_never_falls_and_never_reopens_at_its_height(calls: list[tuple[int, bool]]) -> None:
    fence = _fence(0)
    for generation, closed in calls:
        after = raised(fence, generation=generation, closed=closed)
        assert after.generation == max(fence.generation, generation)
        if fence.closed and after.generation == fence.generation:
            assert after.closed
        fence = after


@pytest.mark.parametrize(
    ("wanted", "established", "settled", "disk", "port"),
    [
        (False, True, True, AttachmentState.DETACHING, PortState.UNPLUGGING),
        (True, True, True, AttachmentState.ATTACHED, PortState.FORWARDING),
        (True, True, False, AttachmentState.DEGRADED, PortState.DEGRADED),
        (True, False, False, AttachmentState.CONVERGING, PortState.CONVERGING),
    ],
)
def test_a_state_follows_from_what_is_wanted_and_seen(
    *, wanted: bool, established: bool, settled: bool, disk: AttachmentState, port: PortState
) -> None:
    assert attachment_state(replace(DISK, wanted=wanted, established=established), settled=settled) is disk
    assert port_state(replace(PORT, wanted=wanted, established=established), settled=settled) is port


def test_a_seed_has_an_id_that_no_caller_can_choose() -> None:
    assert ":" in attachment_id_of("bm-01")
