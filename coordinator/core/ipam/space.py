"""Which address comes next: never-used ones in turn, then the one that has been free for longest."""

from bisect import bisect_right
from collections.abc import Container, Iterator, Sequence

from coordinator.core.ipam.plan import Range


class Space:
    """The addresses, as integers, that can be given from one place; each taking costs the same however many are out.

    A round is made through all of them, beginning after the one given last; an address that came back is not given
    again before the round is over, and then the one that came back first goes first. So a late packet for who had an
    address before does not reach who has it now, as far as the space is wide enough for that.

    Args:
        ranges: disjoint and sorted.
        after: the address given last; None for none.
    """

    def __init__(self, ranges: Sequence[Range], after: int | None = None) -> None:
        self._ranges = list(ranges)
        self._ahead = _round(self._ranges, after)
        self._returned: dict[int, None] = {}

    def take(self, used: Container[int]) -> int | None:
        """The next address that is not in `used`, or None; who takes it must see that it is in `used` from now on."""
        for number in self._ahead:
            if number not in used and number not in self._returned:
                return number
        while self._returned:
            number = next(iter(self._returned))
            del self._returned[number]
            if number not in used:
                return number
        return None

    def give_back(self, number: int) -> None:
        """An address is free again; one that is not of this space changes nothing."""
        at = bisect_right(self._ranges, (number, number)) - 1
        inside = any(low <= number <= high for low, high in self._ranges[max(at, 0) : at + 2])
        if inside:
            self._returned.pop(number, None)
            self._returned[number] = None


def _round(ranges: Sequence[Range], after: int | None) -> Iterator[int]:
    """Every address once, from the one after `after` to the last and from the first on."""
    start = after + 1 if after is not None else 0
    behind = [(max(low, start), high) for low, high in ranges if high >= start]
    before = [(low, min(high, start - 1)) for low, high in ranges if low < start]
    for low, high in (*behind, *before):
        number = low
        while number <= high:  # not range(): its length is bounded, and prefixes of IPv6 are longer
            yield number
            number += 1
