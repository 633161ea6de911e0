"""A random generator that is nothing but its seed."""

from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_WORD = 2**64 - 1


class SplitMix:
    """The SplitMix64 generator (Steele, Lea, Flood 2014): the same seed gives the same numbers everywhere."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _WORD

    def randrange(self, stop: int, /) -> int:
        """A whole number from 0 up to, not including, ``stop``."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _WORD
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _WORD
        return (mixed ^ (mixed >> 31)) % stop

    def shuffled(self, items: Sequence[_Item]) -> list[_Item]:
        """The items in a random order."""
        mixed = list(items)
        for at in range(len(mixed) - 1, 0, -1):
            other = self.randrange(at + 1)
            mixed[at], mixed[other] = mixed[other], mixed[at]
        return mixed
