"""A journal that dies with its daemon, before or after any transaction."""

from pathlib import Path

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.journal import Committed, Journal
from tests.fakes.world import World


class MortalJournal(Journal):
    """A real journal whose transactions are points of the world where the daemon may die."""

    def __init__(self, path: Path, world: World) -> None:
        super().__init__(path)
        self._world = world

    def commit(self, change: Change) -> Committed:
        self._world.point()
        committed = super().commit(change)
        self._world.point()
        return committed
