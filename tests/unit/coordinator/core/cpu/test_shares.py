"""Weight and quota of shared instances."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.cpu.shares import share_of, split
from tests.unit.coordinator.core.cpu.servers import GIB, shared


def test_a_shared_instance_may_use_what_it_bought_and_is_sure_of_its_part() -> None:
    share = share_of(shared("s", 8, memory_bytes=3 * GIB), Fraction(2))
    assert (share.cpu_request_milli, share.cpu_limit_milli, share.memory_bytes) == (4000, 8000, 3 * GIB)


@given(st.integers(1, 512), st.lists(st.integers(0, 10_000), min_size=1, max_size=8), st.fractions(1, 8))
def test_the_parts_of_a_pod_make_the_whole(cpus: int, weights: list[int], oversell: Fraction) -> None:
    share = share_of(shared("s", cpus), oversell)
    parts = split(share, weights)
    assert sum(part.cpu_limit_milli for part in parts) == share.cpu_limit_milli
    assert sum(part.cpu_request_milli for part in parts) == share.cpu_request_milli
    assert sum(part.memory_bytes for part in parts) == share.memory_bytes
