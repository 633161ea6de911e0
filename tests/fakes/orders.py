"""Orders for a process under test, in a file: given whole, and carried out by one who has taken them away."""

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
