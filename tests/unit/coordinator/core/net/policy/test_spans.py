"""Runs of numbers, their prefixes and what is not of them."""

from ipaddress import IPv4Network, collapse_addresses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.net.policy.spans import (
    PORT_BITS,
    Family,
    cidrs,
    joined,
    masked,
    networks,
    others,
    prefixes,
    without,
)

BITS = 6
SPANS = st.lists(st.tuples(st.integers(0, 63), st.integers(0, 63)).map(lambda pair: (min(pair), max(pair))), max_size=6)


def members(spans: list[tuple[int, int]] | tuple[tuple[int, int], ...]) -> set[int]:
    return {number for first, last in spans for number in range(first, last + 1)}


@given(spans=SPANS)
def test_joined_runs_hold_the_same_numbers_and_do_not_touch(spans: list[tuple[int, int]]) -> None:
    found = joined(spans)
    assert members(found) == members(spans)
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(found))


@given(spans=SPANS, excluded=SPANS)
def test_what_is_left_and_what_is_not_among_them_are_as_sets_are(
    spans: list[tuple[int, int]], excluded: list[tuple[int, int]]
) -> None:
    assert members(others(spans, BITS)) == set(range(64)) - members(spans)
    assert members(without(spans, excluded, BITS)) == members(spans) - members(excluded)


@given(spans=SPANS)
def test_prefixes_hold_exactly_the_numbers_and_are_as_few_as_the_standard_library_makes_them(
    spans: list[tuple[int, int]],
) -> None:
    found = prefixes(spans, BITS)
    held = [number for value, length in found for number in range(value, value + (1 << (BITS - length)))]
    assert sorted(held) == sorted(members(spans))
    single = [IPv4Network((number, 32)) for number in members(spans)]
    assert len(found) == len(list(collapse_addresses(single)))


def test_all_ports_and_all_addresses_are_one_prefix() -> None:
    assert masked([(0, 65535)], PORT_BITS) == ["0x0/0x0"]
    assert masked([(80, 80), (8000, 8063)], PORT_BITS) == ["80", "0x1f40/0xffc0"]
    assert cidrs(networks(["0.0.0.0/0"]).v4, Family.V4) == ["0.0.0.0/0"]
    assert cidrs(networks(["fd00::1/128", "fd00::2/127"]).v6, Family.V6) == ["fd00::1", "fd00::2/127"]


def test_networks_hold_addresses_of_their_own_family_alone() -> None:
    held = networks(["10.0.0.0/8", "fd00::/64"])
    assert held.holds("10.1.2.3")
    assert held.holds("fd00::1")
    assert not held.holds("11.0.0.1")
    assert not held.holds("::a00:1")


def test_a_network_with_bits_beside_its_prefix_is_refused() -> None:
    with pytest.raises(ValueError, match="host bits"):
        networks(["10.0.0.1/8"])
