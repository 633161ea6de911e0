"""The rpcs of a collection of the OPI storage API: those of every collection, and counters."""

from typing import Any

from dpu_daemon.engine.opi.intents import AskedObject
from dpu_daemon.engine.opi.objects import OpiObjects
from dpu_daemon.engine.opi.statistics import stats_of
from dpu_daemon.model.opi import OpiObject
from dpu_daemon.plan.opi_references import volume_of
from dpu_daemon.service.opi.checks import from_stats
from dpu_daemon.service.opi.codec import Codec
from dpu_daemon.service.opi.collection import Collection
from dpu_daemon.service.opi.names import check_name, check_parent
from dpu_daemon.service.validation import invalid
from proto.errors import DpuError

EVERY_VOLUME = "volumes"
"""Parent of the lists of layers over volumes; the name of one volume lists what lies on that one."""


class CollectionRpcs(Collection):
    """Create, delete, update, list, get and stats of one collection.

    Args:
        codec: of the collection.
        objects: of the engine.
    """

    def __init__(self, codec: Codec, objects: OpiObjects) -> None:
        super().__init__(codec, objects)
        self._codec = codec
        self._objects = objects

    def _asks(self, name: str, message: Any, *, new: bool) -> AskedObject:
        spec, secret = self._codec.read(message)
        if new and self._codec.needs_secret and not secret:
            raise invalid(f"{self._codec.field}.key", "is missing", "send the key")
        return AskedObject(name=name, kind=self._codec.kind, spec=spec, secret=secret)

    def _written(self, view: Any) -> Any:
        return self._codec.write(view)

    def _listed(self, parent: str) -> list[OpiObject]:
        kind = self._codec.kind
        if not self._codec.lists_by_parent:
            owner = check_parent("parent", parent, kind)
            if owner:
                self._existing_parent(owner)
            return self._objects.members(kind, owner)
        if not parent:
            remedy = f"send {EVERY_VOLUME!r} for all, or the name of a volume"
            raise invalid("parent", "is empty", remedy)
        found = self._objects.members(kind, "")
        if "/" not in parent:
            return found
        return [record for record in found if volume_of(record) == parent]

    def _existing_parent(self, owner: str) -> None:
        try:
            self._objects.existing(owner)
        except DpuError as error:
            raise DpuError(error.reason, error.message, field="parent", remedy=error.remedy) from error

    async def stats(self, request: Any, _context: Any) -> Any:
        """Counters since the block layer started."""
        record = self._objects.existing(check_name("name", request.name, self._codec.kind))
        stats = from_stats(await stats_of(self._objects, record))
        return getattr(self._codec.module, f"Stats{self._codec.noun}Response")(stats=stats)
