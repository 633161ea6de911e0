"""The six rpcs that every collection of the OPI API has, once for all collections."""

from typing import Any

from google.protobuf import empty_pb2

from dpu_daemon.engine.opi.intents import AskedObject
from dpu_daemon.engine.opi.objects import OpiObjects
from dpu_daemon.engine.opi.statistics import stats_of
from dpu_daemon.model.opi import OpiObject
from dpu_daemon.plan.opi_references import volume_of
from dpu_daemon.service.gate import deadline_of
from dpu_daemon.service.opi.checks import from_stats
from dpu_daemon.service.opi.codec import Codec
from dpu_daemon.service.opi.masks import merged
from dpu_daemon.service.opi.names import check_name, check_parent, chosen_name
from dpu_daemon.service.opi.paging import page_of
from dpu_daemon.service.validation import invalid
from proto.errors import DpuError

EVERY_VOLUME = "volumes"
"""Parent of the lists of layers over volumes; the name of one volume lists what lies on that one."""


class CollectionRpcs:
    """Create, delete, update, list, get and stats of one collection.

    Args:
        codec: of the collection.
        objects: of the engine.
    """

    def __init__(self, codec: Codec, objects: OpiObjects) -> None:
        self._codec = codec
        self._objects = objects

    async def create(self, request: Any, context: Any) -> Any:
        """An existing id with an equal spec answers the existing object."""
        codec = self._codec
        parent = check_parent("parent", getattr(request, "parent", ""), codec.kind)
        name = chosen_name(f"{codec.field}_id", parent, codec.kind, getattr(request, f"{codec.field}_id"))
        return await self._make(name, self._asked(request), context)

    async def _make(self, name: str, message: Any, context: Any) -> Any:
        spec, secret = self._codec.read(message)
        if self._codec.needs_secret and not secret:
            raise invalid(f"{self._codec.field}.key", "is missing", "send the key")
        asked = AskedObject(name=name, kind=self._codec.kind, spec=spec, secret=secret)
        return self._codec.write(await self._objects.create(asked, deadline_of(context)))

    def _asked(self, request: Any) -> Any:
        if not request.HasField(self._codec.field):
            raise invalid(self._codec.field, "is missing", "send the object")
        return getattr(request, self._codec.field)

    async def delete(self, request: Any, context: Any) -> Any:
        """Refused while others need the object; missing is fine where the caller allows it."""
        name = check_name("name", request.name, self._codec.kind)
        await self._objects.delete(name, deadline_of(context), allow_missing=request.allow_missing)
        return empty_pb2.Empty()

    async def update(self, request: Any, context: Any) -> Any:
        """Changes what the mask names; makes the object where it is missing and the caller allows that."""
        message = self._asked(request)
        name = check_name(f"{self._codec.field}.name", message.name, self._codec.kind)
        if name not in self._objects.ledger.opi and request.allow_missing:
            return await self._make(name, message, context)
        record = self._objects.existing(name)
        present = self._codec.write(self._objects.view(record, None))
        spec, secret = self._codec.read(merged(present, message, request.update_mask.paths))
        asked = AskedObject(name=name, kind=self._codec.kind, spec=spec, secret=secret)
        return self._codec.write(await self._objects.update(asked, deadline_of(context)))

    async def get(self, request: Any, _context: Any) -> Any:
        """One object, with its status as the block layer shows it."""
        record = self._objects.known(check_name("name", request.name, self._codec.kind))
        return self._codec.write(self._objects.view(record, await self._objects.seen()))

    async def page(self, request: Any, _context: Any) -> Any:
        """A page of the collection, by name."""
        found = self._listed(getattr(request, "parent", ""))
        scope = f"{self._codec.kind.value} of {getattr(request, 'parent', '')}"
        records, token = page_of(found, lambda record: record.name, scope, request.page_size, request.page_token)
        seen = await self._objects.seen() if records else None
        answer = getattr(self._codec.module, f"List{self._codec.noun}sResponse")(next_page_token=token)
        items = getattr(answer, f"{self._codec.field}s")
        items.extend(self._codec.write(self._objects.view(record, seen)) for record in records)
        return answer

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
