"""The engine of a storage node: images, volumes and their exports."""

from collections.abc import Iterator

from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.core import Core, Slots, census_state
from dpu_daemon.engine.deadline import within
from dpu_daemon.engine.exports import Exports
from dpu_daemon.engine.images import Images
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.engine.volumes import Volumes


class StorageEngine:
    """All that a storage node does.

    Args:
        ledger: loaded.
        driver: of its block layer.
        times: of the audits.
    """

    def __init__(self, ledger: Ledger, driver: TargetDriver, times: AuditTimes | None = None) -> None:
        operations = Operations()
        self._driver = driver
        self.images = Images(ledger, operations, driver)
        self.volumes = Volumes(ledger, operations, driver)
        self.exports = Exports(ledger, operations, driver, self.volumes)
        auditors = (self.images, self.volumes)
        self.core = Core(ledger, operations, {"block": driver}, auditors, _nothing, times or AuditTimes())

    @staticmethod
    async def open(journal: Journal, driver: TargetDriver, times: AuditTimes | None = None) -> "StorageEngine":
        """An engine that has read its journal; call `core.start` to let it work."""
        ledger = Ledger(journal)
        await ledger.load()
        return StorageEngine(ledger, driver, times)

    async def capacity(self) -> tuple[int, int]:
        """Total and available bytes for volumes."""
        return await within(5.0, self._driver.capacity(), "ask for the capacity")

    def census(self) -> Iterator[tuple[str, str]]:
        """Kind of every wanted thing, and whether it was whole once."""
        for volume in tuple(self.core.ledger.volumes.values()):
            yield "volume", census_state(wanted=volume.wanted, established=volume.created)

    def slots(self) -> Slots:
        """A storage node has no host."""
        return Slots()


async def _nothing() -> None:
    """A storage node has nothing to tidy."""
