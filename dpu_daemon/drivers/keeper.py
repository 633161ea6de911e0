"""Connections of the daemon to other processes: kept as proto.keeper does, and counted when they end."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from prometheus_client import Counter

from proto import keeper
from proto.keeper import Connection

__all__ = ["LOST", "Connection", "Keeper", "count_lost"]

C = TypeVar("C", bound=Connection)

LOST = Counter(
    "dpupool_daemon_connections_lost", "Connections to other processes that have ended.", ["peer"], registry=None
)
"""Of this process; the daemon puts it among its metrics."""


def count_lost(peer: str) -> None:
    """One more has ended."""
    LOST.labels(peer).inc()


class Keeper(keeper.Keeper[C]):
    """Owner of at most one open connection.

    Args:
        peer: what is on the other side, for sentences.
        remedy: what a reader can do when it is not there.
        dial: opens a connection; raises OSError, EOFError, TimeoutError or DpuError.
    """

    def __init__(self, peer: str, remedy: str, dial: Callable[[], Awaitable[C]]) -> None:
        super().__init__(peer, remedy, dial, count=count_lost)
