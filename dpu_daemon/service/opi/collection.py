"""The five rpcs that every collection of either OPI API has, once for all collections."""

from abc import ABC, abstractmethod
from typing import Any

from google.protobuf import empty_pb2

from dpu_daemon.engine.opi.lifecycle import Lifecycle
from dpu_daemon.service.gate import deadline_of
from dpu_daemon.service.opi.codec import Called
from dpu_daemon.service.opi.masks import merged
from dpu_daemon.service.opi.names import check_name, check_parent, chosen_name
from dpu_daemon.service.opi.paging import page_of
from dpu_daemon.service.validation import invalid


class Collection(ABC):
    """Create, delete, update, list and get.

    Args:
        called: how it is called.
        objects: of the engine.
    """

    def __init__(self, called: Called, objects: Lifecycle[Any, Any, Any, Any]) -> None:
        self._called = called
        self._things = objects

    @abstractmethod
    def _asks(self, name: str, message: Any, *, new: bool) -> Any:
        """What the engine is asked for; raises DpuError INVALID or UNSUPPORTED naming the field."""

    @abstractmethod
    def _written(self, view: Any) -> Any:
        """A view on the wire."""

    def _listed(self, parent: str) -> list[Any]:
        """All objects of a list, by name."""
        return self._things.members(self._called.kind, parent)

    async def create(self, request: Any, context: Any) -> Any:
        """An existing id with an equal spec answers the existing object."""
        called = self._called
        parent = check_parent("parent", getattr(request, "parent", ""), called.kind)
        name = chosen_name(f"{called.field}_id", parent, called.kind, getattr(request, f"{called.field}_id"))
        return await self._make(name, self._sent(request), context)

    async def _make(self, name: str, message: Any, context: Any) -> Any:
        asked = self._asks(name, message, new=True)
        return self._written(await self._things.create(asked, deadline_of(context)))

    def _sent(self, request: Any) -> Any:
        if not request.HasField(self._called.field):
            raise invalid(self._called.field, "is missing", "send the object")
        return getattr(request, self._called.field)

    async def delete(self, request: Any, context: Any) -> Any:
        """Refused while others need the object; missing is fine where the caller allows it."""
        name = check_name("name", request.name, self._called.kind)
        await self._things.delete(name, deadline_of(context), allow_missing=request.allow_missing)
        return empty_pb2.Empty()

    async def update(self, request: Any, context: Any) -> Any:
        """Changes what the mask names; makes the object where it is missing and the caller allows that."""
        message = self._sent(request)
        name = check_name(f"{self._called.field}.name", message.name, self._called.kind)
        record = self._things.record(name)
        if request.allow_missing and (record is None or not record.wanted):
            return await self._make(name, message, context)

        def asking(present: Any) -> Any:
            whole = merged(self._written(self._things.view(present, None)), message, request.update_mask.paths)
            return self._asks(name, whole, new=False)

        return self._written(await self._things.update(name, asking, deadline_of(context)))

    async def get(self, request: Any, _context: Any) -> Any:
        """One object, with its status as one look shows it."""
        record = self._things.known(check_name("name", request.name, self._called.kind))
        return self._written(self._things.view(record, await self._things.seen()))

    async def page(self, request: Any, _context: Any) -> Any:
        """A page of the collection, by name."""
        parent = getattr(request, "parent", "")
        found = self._listed(parent)
        scope = f"{self._called.kind.value} of {parent}"
        records, token = page_of(found, lambda record: str(record.name), scope, request.page_size, request.page_token)
        seen = await self._things.seen() if records else None
        answer = getattr(self._called.module, f"List{self._called.noun}sResponse")(next_page_token=token)
        items = getattr(answer, f"{self._called.field}s")
        items.extend(self._written(self._things.view(record, seen)) for record in records)
        return answer
