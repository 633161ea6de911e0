"""The engine of a storage node: images, volumes, their snapshots and exports."""

from collections.abc import Iterator

from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.core import Core, Slots, census_state
from dpu_daemon.engine.deadline import within
from dpu_daemon.engine.exports import Exports
from dpu_daemon.engine.images import Images
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.protocols import CredentialStore, TargetDriver
from dpu_daemon.engine.secrets import Secrets
from dpu_daemon.engine.snapshots import Snapshots
from dpu_daemon.engine.volumes import Volumes
from dpu_daemon.model.volume import CutState


class StorageEngine:
    """All that a storage node does.

    Args:
        ledger: loaded.
        driver: of its block layer.
        times: of the audits.
        credentials: where secrets are kept; None where none can be.
    """

    def __init__(
        self,
        ledger: Ledger,
        driver: TargetDriver,
        times: AuditTimes | None = None,
        credentials: CredentialStore | None = None,
    ) -> None:
        operations = Operations()
        self._driver = driver
        self.images = Images(ledger, operations, driver)
        self.volumes = Volumes(ledger, operations, driver)
        self.exports = Exports(ledger, operations, driver, self.volumes)
        self.snapshots = Snapshots(ledger, operations, driver, self.volumes)
        self.secrets = Secrets(ledger, credentials)
        auditors = (self.images, self.volumes, self.snapshots)
        self.core = Core(ledger, operations, {"block": driver}, auditors, _nothing, times or AuditTimes())

    @staticmethod
    async def open(
        journal: Journal,
        driver: TargetDriver,
        times: AuditTimes | None = None,
        credentials: CredentialStore | None = None,
    ) -> "StorageEngine":
        """An engine that has read its journal; call `core.start` to let it work."""
        ledger = Ledger(journal)
        await ledger.load()
        return StorageEngine(ledger, driver, times, credentials)

    async def capacity(self) -> tuple[int, int]:
        """Total and available bytes for volumes."""
        return await within(5.0, self._driver.capacity(), "ask for the capacity")

    def transport(self) -> str:
        """Of this node's exports."""
        return self._driver.transport()

    def cuts_groups(self) -> bool:
        """Whether several volumes can be snapshot at one instant."""
        return self._driver.cuts_groups()

    def census(self) -> Iterator[tuple[str, str]]:
        """Kind of every wanted thing, and whether it was whole once."""
        for volume in tuple(self.core.ledger.volumes.values()):
            yield "volume", census_state(wanted=volume.wanted, established=volume.created)
        for snapshot in tuple(self.core.ledger.snapshots.values()):
            yield "snapshot", census_state(wanted=snapshot.wanted, established=snapshot.state is CutState.DONE)

    def slots(self) -> Slots:
        """A storage node has no host."""
        return Slots()


async def _nothing() -> None:
    """A storage node has nothing to tidy."""
