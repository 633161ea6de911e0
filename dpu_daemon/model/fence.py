"""Fences: which generation of a volume, port or seed may still act here."""

from dataclasses import dataclass
from enum import Enum


class FenceScope(Enum):
    """What a fence stands before."""

    VOLUME = "volume"
    ATTACHMENT = "attachment"
    PORT = "port"
    SEED = "seed"
    EXPORT = "export"
    ASSIGNMENT = "assignment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The highest generation seen of a subject; `closed` once that generation was taken away."""

    scope: FenceScope
    subject: str
    generation: int
    closed: bool = False

    def refuses(self, generation: int) -> bool:
        """Whether a call that puts something up with this generation comes too late."""
        return generation < self.generation or (self.closed and generation == self.generation)

    def ignores(self, generation: int) -> bool:
        """Whether a call that takes something away with this generation comes too late."""
        return generation < self.generation


def raised(fence: Fence, *, generation: int, closed: bool) -> Fence:
    """The fence after a call with this generation; it never falls, and never reopens at the same height."""
    if generation < fence.generation:
        return fence
    still_closed = closed or (fence.closed and generation == fence.generation)
    return Fence(scope=fence.scope, subject=fence.subject, generation=generation, closed=still_closed)
