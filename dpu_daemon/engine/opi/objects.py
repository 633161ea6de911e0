"""Objects of the OPI storage API: create, update, delete, read; wanted state first, then the block layer follows."""

from collections.abc import Mapping
from dataclasses import dataclass

from dpu_daemon.engine.convergence import LOOK_S
from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.opi.intents import AskedObject, OpiIntents
from dpu_daemon.engine.opi.job import OpiJob
from dpu_daemon.engine.opi.lifecycle import Lifecycle
from dpu_daemon.engine.opi.protocols import OpiDriver
from dpu_daemon.engine.opi.secrets import OpiSecrets
from dpu_daemon.engine.protocols import CredentialStore
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.opi import OpiObject, VirtioBlk
from dpu_daemon.model.opi_seen import OpiSeen
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True)
class OpiLayer:
    """What OPI objects stand on."""

    driver: OpiDriver
    store: CredentialStore


@dataclass(frozen=True, slots=True)
class OpiView:
    """An object as a client sees it, with the one it lives in; `seen` is None when the block layer does not answer."""

    record: OpiObject
    owner: OpiObject | None
    seen: OpiSeen | None


class OpiObjects(Lifecycle[OpiObject, AskedObject, OpiSeen, OpiView]):
    """All OPI storage objects of this DPU.

    Args:
        ledger: what is wanted.
        operations: locks and lanes of callers.
        layer: driver of the block layer, and where secrets go.
    """

    row = RecordKind.OPI
    ground = "the block layer"

    def __init__(self, ledger: Ledger, operations: Operations, layer: OpiLayer) -> None:
        self.driver = layer.driver
        self.intents = OpiIntents(ledger, OpiSecrets(layer.store))
        super().__init__(ledger, operations, self.intents, layer.driver.look)

    @property
    def records(self) -> Mapping[str, OpiObject]:
        """All objects, by resource name."""
        return self.ledger.opi

    async def reset(self, name: str, deadline: Deadline) -> None:
        """Reset a remote controller.

        Raises:
            DpuError: NOT_FOUND, or the driver's error.
        """
        record = self.existing(name)
        await self._run(name, LaneName.PUT_UP, lambda: self.driver.reset_remote(record.handle), deadline)

    def view(self, record: OpiObject, seen: OpiSeen | None) -> OpiView:
        """A record as a client sees it."""
        return OpiView(record, self.ledger.opi.get(record.parent), seen)

    async def tidy(self) -> None:
        """Forget secrets that no object names."""
        await self.intents.tidy()

    async def _before_delete(self, name: str) -> None:
        record = self.ledger.opi.get(name)
        if record is None or not isinstance(record.spec, VirtioBlk):
            return
        seen = (await within(LOOK_S, self._sight.look(), "look at the block layer")).virtio_blks.get(record.handle)
        if seen is not None and seen.connected:
            message = f"{name} is open in the host"
            raise DpuError(Reason.IN_USE, message, field="name", remedy="unplug it in the host first")

    async def _after_delete(self, record: OpiObject) -> None:
        if record.secret:
            await self.intents.tidy()

    def _job(self, name: str) -> OpiJob:
        return OpiJob(name, self.ledger, self.driver, self._sight)
