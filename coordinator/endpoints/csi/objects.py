"""The API's objects as the calls see them: found in the controllers' caches, written through, waited for by watches."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

from coordinator.core.csi.names import is_object_name
from coordinator.core.objects.fleet import Host
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json, Metadata
from coordinator.core.objects.storage import Attachment, Image, Snapshot, Volume
from coordinator.endpoints.csi.deadline import Deadline
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")

CHANGE_ATTEMPTS = 10
KINDS = (Kind.VOLUME, Kind.SNAPSHOT, Kind.ATTACHMENT)


class View(Protocol):
    """The newest known objects of one kind; see coordinator.controllers.cache."""

    def get(self, key: str) -> Any: ...

    def all(self) -> list[Any]: ...

    def by(self, index: str, word: str) -> list[Any]: ...

    def absorb(self, raw: Json) -> bool: ...

    def listen(self, listener: Callable[[str, Any, Any], None]) -> None: ...


class Writes(Protocol):
    """What is asked of the API; see coordinator.clients.protocols.Api."""

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json: ...

    async def create(self, kind: Kind | Foreign, body: Json) -> Json: ...

    async def patch(self, kind: Kind, name: str, body: Json, namespace: str = "") -> Json: ...

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "") -> None: ...


class Tell(Protocol):
    """Writes Kubernetes Events; see coordinator.controllers.events."""

    def tell(self, kind: Kind, meta: Metadata, reason: str, message: str, *, warning: bool = False) -> None: ...


class Objects:
    """What is there, in one namespace.

    Args:
        api: for changes.
        views: by kind; someone else keeps them true.
        namespace: of the volumes, snapshots and attachments.
        synced: whether the views are filled.
        events: told of what is taken back.
    """

    def __init__(
        self, api: Writes, views: Mapping[Kind, View], namespace: str, synced: Callable[[], bool], events: Tell
    ) -> None:
        self._api = api
        self._views = views
        self.namespace = namespace
        self._synced = synced
        self._events = events
        self._waiting: dict[tuple[Kind, str], set[asyncio.Event]] = {}
        for kind in KINDS:
            views[kind].listen(partial(self._wake, kind))

    @property
    def synced(self) -> bool:
        """Whether everything was listed once."""
        return self._synced()

    def check_synced(self) -> None:
        """Refuse to judge by what is not known yet.

        Raises:
            DpuError: UNAVAILABLE.
        """
        if not self.synced:
            raise DpuError(
                Reason.UNAVAILABLE, "the coordinator has not listed its objects yet", remedy="repeat the call"
            )

    def volume(self, name: str) -> Volume | None:
        """A volume as it is known."""
        found: Volume | None = self._known(Kind.VOLUME, name)
        return found

    def snapshot(self, name: str) -> Snapshot | None:
        """A snapshot as it is known."""
        found: Snapshot | None = self._known(Kind.SNAPSHOT, name)
        return found

    def attachment(self, name: str) -> Attachment | None:
        """An attachment as it is known."""
        found: Attachment | None = self._known(Kind.ATTACHMENT, name)
        return found

    def host(self, name: str) -> Host | None:
        """A server as it is known."""
        found: Host | None = self._views[Kind.HOST].get(name)
        return found

    def image(self, name: str) -> Image | None:
        """An image as it is known."""
        found: Image | None = self._views[Kind.IMAGE].get(name)
        return found

    def volumes(self) -> list[Volume]:
        """All volumes of the namespace."""
        return [one for one in self._views[Kind.VOLUME].all() if one.metadata.namespace == self.namespace]

    def snapshots(self) -> list[Snapshot]:
        """All snapshots of the namespace."""
        return [one for one in self._views[Kind.SNAPSHOT].all() if one.metadata.namespace == self.namespace]

    def attachments(self, volume: str) -> list[Attachment]:
        """All attachments of a volume."""
        return list(self._views[Kind.ATTACHMENT].by("volume", self._key(volume)))

    def snapshots_of(self, volume: str) -> list[Snapshot]:
        """All snapshots that name a volume."""
        return list(self._views[Kind.SNAPSHOT].by("volume", self._key(volume)))

    def members(self, group: str) -> list[Snapshot]:
        """All snapshots of a group, sorted by name."""
        return list(self._views[Kind.SNAPSHOT].by("group", self._key(group)))

    async def find(self, kind: Kind, name: str) -> Any:
        """An object, asked of the API when it is not known: only an explicit "not found" is None."""
        found = self._known(kind, name)
        if found is not None or not is_object_name(name):
            return found
        try:
            self._views[kind].absorb(await self._api.get(kind, name, self.namespace))
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
        return self._known(kind, name)

    async def create(self, kind: Kind, body: Json) -> None:
        """Create an object; one that is there already is good: it is known afterwards, and the caller judges it."""
        try:
            made = await self._create(kind, body)
        except DpuError as error:
            if error.reason is not Reason.ALREADY_EXISTS:
                raise
            made = await self._api.get(kind, body["metadata"]["name"], self.namespace)
        self._views[kind].absorb(made)

    async def _create(self, kind: Kind, body: Json) -> Json:
        try:
            return await self._api.create(kind, body)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
        await self._make_namespace()
        return await self._api.create(kind, body)

    async def _make_namespace(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        try:
            await self._api.create(Foreign.NAMESPACE, body)
        except DpuError as error:
            if error.reason is not Reason.ALREADY_EXISTS:
                raise

    async def change(self, kind: Kind, name: str, decide: Callable[[], Json | None]) -> bool:
        """Merge into an object what is decided on its newest version; whether anything was.

        Args:
            kind: of the object.
            name: of the object, which is known.
            decide: what to merge, or None; asked again when somebody else was faster.

        Raises:
            DpuError: CONFLICT; somebody else was faster each time, or the object is gone.
        """
        for _ in range(CHANGE_ATTEMPTS):
            body = decide()
            if body is None:
                return False
            version = self._known(kind, name).metadata.resource_version
            exact = body | {"metadata": {"resourceVersion": version}}
            try:
                self._views[kind].absorb(await self._api.patch(kind, name, exact, self.namespace))
            except DpuError as error:
                if error.reason is not Reason.CONFLICT:
                    raise
                self._views[kind].absorb(await self._api.get(kind, name, self.namespace))
            else:
                return True
        raise DpuError(Reason.CONFLICT, f"{name} changes all the time", remedy="repeat the call")

    async def remove(self, kind: Kind, objects: Iterable[Metadata], deadline: Deadline) -> bool:
        """Have objects go, and wait until they are gone; False when the time is over first."""
        left = list(objects)
        for meta in left:
            if not meta.deleting and self._is(kind, meta):
                await self._ask_to_go(kind, meta)

        def gone() -> bool | None:
            return not any(self._is(kind, meta) for meta in left) or None

        return bool(await self.until(kind, [meta.name for meta in left], gone, deadline))

    async def _ask_to_go(self, kind: Kind, meta: Metadata) -> None:
        """A name that is another object's by now is left alone: a late unpublish must not end a newer publish."""
        try:
            await self._api.delete(kind, meta.name, self.namespace, uid=meta.uid)
        except DpuError as error:
            if error.reason is not Reason.CONFLICT:
                raise

    async def take_back(self, kind: Kind, objects: Iterable[Metadata], deadline: Deadline, why: DpuError) -> None:
        """Remove what cannot become what it was made for, so that the final error `why` may be told.

        Raises:
            DpuError: UNAVAILABLE; it is not gone yet, so nothing final can be said.
        """
        listed = list(objects)
        for meta in listed:
            self._events.tell(kind, meta, "TakenBack", str(why), warning=True)
        if not await self.remove(kind, listed, deadline):
            raise DpuError(
                Reason.UNAVAILABLE, f"{why.message}; what was begun is being taken back", remedy="repeat the call"
            )

    async def until(
        self, kind: Kind, names: Iterable[str], look: Callable[[], T | None], deadline: Deadline
    ) -> T | None:
        """What `look` finds, which is asked again whenever one of the objects changes; None when the time is over.

        Args:
            kind: of the objects.
            names: of the objects.
            look: finds something, or None, or raises.
            deadline: when to end.
        """
        with self._told_of((kind, self._key(name)) for name in names) as news:
            while True:
                news.clear()
                found = look()
                if found is not None:
                    return found
                if not await deadline.wait(news):
                    return None

    @contextmanager
    def _told_of(self, keys: Iterable[tuple[Kind, str]]) -> Iterator[asyncio.Event]:
        news, listed = asyncio.Event(), list(keys)
        for key in listed:
            self._waiting.setdefault(key, set()).add(news)
        try:
            yield news
        finally:
            for key in listed:
                waiting = self._waiting[key]
                waiting.discard(news)
                if not waiting:
                    del self._waiting[key]

    def _wake(self, kind: Kind, key: str, _before: Any, _after: Any) -> None:
        for news in self._waiting.get((kind, key), ()):
            news.set()

    def _is(self, kind: Kind, meta: Metadata) -> bool:
        """Whether the very object is still there."""
        found = self._known(kind, meta.name)
        return found is not None and found.metadata.uid == meta.uid

    def _known(self, kind: Kind, name: str) -> Any:
        return self._views[kind].get(self._key(name))

    def _key(self, name: str) -> str:
        return f"{self.namespace}/{name}"
