"""Orders for a process under test, in a file: given whole, and carried out by one who has taken them away."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def give(order: Path, text: str) -> None:
    """Put an order in the place of any that was not taken yet."""
    written = order.with_suffix(".written")
    written.write_text(text)
    written.replace(order)


def take(order: Path) -> str:
    """The order, which nobody else takes then; empty when there is none."""
    taken = order.with_suffix(".taken")
    try:
        order.rename(taken)
    except FileNotFoundError:
        return ""
    return taken.read_text()


@contextmanager
def alone(order: Path) -> Iterator[None]:
    """Nobody else stands here: an order is not being carried out now, or it is by us. A death lets go."""
    with order.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
