"""Requests about objects: every verb of every kind ends here."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from coordinator.api import bodies, deletes, errors, reading, scale
from coordinator.api.bodies import answer, write_options
from coordinator.api.deletes import DeleteOptions
from coordinator.api.kinds import Kind
from coordinator.api.negotiation import Form, choose_form
from coordinator.api.objects import Key, Obj
from coordinator.api.patch import merge_patch
from coordinator.api.reading import Look
from coordinator.api.request import RequestInfo, Verb
from coordinator.api.routes import Call
from coordinator.api.tables import Include
from coordinator.api.watching import Order, Watcher
from coordinator.api.writes import PatchType, Writes

WRITE_TIMEOUT_S = 30.0
"""A watcher that takes no bytes for so long is cut."""
PEER_CHECK_S = 5.0
"""Seconds between looks whether the client of a silent stream is still there."""
_DEAD_PEER = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))


def _look(request: web.Request) -> Look:
    form = choose_form(request.headers.get("Accept", ""))
    text = request.query.get("includeObject") or Include.METADATA.value
    try:
        return Look(form, Include(text))
    except ValueError:
        raise errors.bad_request(f'includeObject: Unsupported value: "{text}"') from None


class Resources:
    """Serves kinds from the store."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._store = writes.store
        self._closing = asyncio.Event()
        self._handlers: dict[Verb, Callable[[Call, Kind, Key], Awaitable[web.StreamResponse]]] = {
            Verb.GET: self._get,
            Verb.LIST: self._list,
            Verb.WATCH: self._watch,
            Verb.CREATE: self._create,
            Verb.UPDATE: self._update,
            Verb.PATCH: self._patch,
            Verb.DELETE: self._delete,
            Verb.DELETE_COLLECTION: self._delete_collection,
        }

    def end_watches(self) -> None:
        """End the streams, so that the server can stop."""
        self._closing.set()

    async def serve(self, call: Call, kind: Kind) -> web.StreamResponse:
        """Answer a request about a kind.

        Raises:
            ApiError: any refusal.
        """
        info = call.info
        handler = self._handlers.get(info.verb)
        if handler is None or not self._offers(kind, info):
            raise errors.method_not_allowed(info.verb.value)
        if info.verb in {Verb.UPDATE, Verb.PATCH} and not info.name:
            raise errors.method_not_allowed(f"{info.verb.value} without a name")
        if kind.namespaced and not info.namespace and info.verb not in {Verb.LIST, Verb.WATCH}:
            raise errors.method_not_allowed(f"{info.verb.value} without a namespace")
        if info.namespace and not kind.namespaced and kind.plural != "namespaces":
            raise errors.no_such_path()
        namespace = info.namespace if kind.namespaced else ""
        return await handler(call, kind, Key(kind.storage, namespace, info.name))

    @staticmethod
    def _offers(kind: Kind, info: RequestInfo) -> bool:
        if not info.subresource:
            return info.verb.value in kind.verbs
        known = (info.subresource == "status" and kind.status) or (info.subresource == "scale" and kind.scale)
        if not known or info.rest:
            raise errors.no_such_path()
        return info.verb in {Verb.GET, Verb.PATCH, Verb.UPDATE}

    async def _get(self, call: Call, kind: Kind, key: Key) -> web.StreamResponse:
        if call.info.subresource == "scale":
            return answer(scale.show(kind, self._present(kind, key)))
        return answer(reading.get(self._store, kind, key, _look(call.request)))

    def _present(self, kind: Kind, key: Key) -> Obj:
        record = self._store.get(key)
        if record is None:
            raise errors.not_found(kind.plural, kind.group, key.name)
        return record.obj()

    async def _list(self, call: Call, kind: Kind, key: Key) -> web.StreamResponse:
        query = dict(call.request.query)
        return answer(reading.list_(self._store, kind, key.namespace, query, _look(call.request)))

    async def _watch(self, call: Call, kind: Kind, key: Key) -> web.StreamResponse:
        request, look = call.request, _look(call.request)
        order = Order.parse(kind, key.namespace, dict(request.query), look, key.name)
        watcher = Watcher(self._store, order)
        response = web.StreamResponse(headers={"Content-Type": bodies.JSON_TYPE, "Cache-Control": "no-cache, private"})
        await response.prepare(request)
        notice_dead_peer(request)
        pump = asyncio.create_task(_pump(watcher, response, request))
        closing = asyncio.create_task(self._closing.wait())
        try:
            done: set[asyncio.Task[Any]] = set()
            while not done and request.transport is not None and not request.transport.is_closing():
                done, _ = await asyncio.wait((pump, closing), timeout=PEER_CHECK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pump, closing):
                task.cancel()
            await asyncio.gather(pump, closing, return_exceptions=True)
        return response

    async def _create(self, call: Call, kind: Kind, key: Key) -> web.StreamResponse:
        if key.name:
            raise errors.method_not_allowed("create with a name in the path")
        options = write_options(call.request)
        body = await bodies.read_object(call.request)
        obj = await self._writes.create(kind, key.namespace, body, options)
        return self._written(call, kind, obj, options.warnings, 201)

    def _written(self, call: Call, kind: Kind, obj: Obj, warnings: list[str], status: int = 200) -> web.Response:
        look = _look(call.request)
        shown = reading.shown(kind, obj)
        body = scale.show(kind, shown) if call.info.subresource == "scale" else None
        response = answer(body or reading.present(kind, shown, look), status)
        bodies.warn(response, warnings)
        return response

    async def _update(self, call: Call, kind: Kind, key: Key) -> web.StreamResponse:
        options = write_options(call.request)
        body = await bodies.read_object(call.request)
        if call.info.subresource == "scale":
            obj = await self._writes.update(kind, key, lambda live: scale.put(kind, live, body), options)
        else:
            obj = await self._writes.replace(kind, key, body, options, call.info.subresource)
        return self._written(call, kind, obj, options.warnings)

    async def _patch(self, call: Call, kind: Kind, key: Key) -> web.StreamResponse:
        options, media = write_options(call.request), call.request.content_type
        language = next((each for each in PatchType if each.value == media), None)
        if language is None:
            offers = ", ".join(each.value for each in PatchType)
            raise errors.unsupported_media_type(
                f"the body of the request was in an unknown format - accepted media types include: {offers}"
            )
        raw = await bodies.read_raw(call.request)
        patch = bodies.parse_yaml(raw) if language is PatchType.APPLY else bodies.parse_json(raw)
        if call.info.subresource == "scale":
            return await self._patch_scale(call, kind, key, language, patch)
        obj, created = await self._writes.patch(kind, key, language, patch, options, call.info.subresource)
        return self._written(call, kind, obj, options.warnings, 201 if created else 200)

    async def _patch_scale(
        self, call: Call, kind: Kind, key: Key, language: PatchType, patch: Any
    ) -> web.StreamResponse:
        if language is PatchType.JSON:
            raise errors.unsupported_media_type(f"scale takes {PatchType.MERGE.value}")
        options = write_options(call.request)

        def edit(live: Obj) -> Obj:
            return scale.put(kind, live, merge_patch(scale.show(kind, live), patch))

        obj = await self._writes.update(kind, key, edit, options)
        return self._written(call, kind, obj, options.warnings)

    async def _delete(self, call: Call, kind: Kind, key: Key) -> web.StreamResponse:
        options = DeleteOptions.parse(await bodies.read_optional(call.request), dict(call.request.query))
        obj, gone = await deletes.delete(self._store, self._writes.stored_kind(kind), key, options)
        if not gone:
            return self._written(call, kind, obj, [])
        details: Obj = {"name": key.name, "kind": kind.plural, "uid": obj["metadata"]["uid"]}
        if kind.group:
            details["group"] = kind.group
        status: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return answer(status)

    async def _delete_collection(self, call: Call, kind: Kind, key: Key) -> web.StreamResponse:
        query = dict(call.request.query)
        options = DeleteOptions.parse(await bodies.read_optional(call.request), query)
        chosen = reading.selection(kind, key.namespace, query)
        records = [record for record in self._store.scan(kind.storage, key.namespace) if chosen.matches(record)]
        stored = self._writes.stored_kind(kind)
        results = await asyncio.gather(
            *(deletes.delete(self._store, stored, record.key, options) for record in records), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException) and getattr(result, "reason", "") != "NotFound":
                raise result
        items = [reading.shown(kind, record.obj()) for record in records]
        metadata = {"resourceVersion": str(self._store.version)}
        look = _look(call.request)
        if look.form is Form.TABLE:
            return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
        return answer({"kind": kind.list_name, "apiVersion": kind.api_version, "metadata": metadata, "items": items})


async def _pump(watcher: Watcher, response: web.StreamResponse, request: web.Request) -> None:
    """Send frames; a peer that left or takes nothing ends the watch."""
    try:
        async for frame in watcher.frames():
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await response.write(frame)
    except TimeoutError:
        if request.transport:
            request.transport.abort()
    except ConnectionError:
        return


def notice_dead_peer(request: web.Request) -> None:
    """Let the kernel probe an idle stream, so that a vanished client is found within two minutes."""
    found = request.transport.get_extra_info("socket") if request.transport else None
    if found is not None and found.family in {socket.AF_INET, socket.AF_INET6}:
        for option, value in _DEAD_PEER:
            found.setsockopt(socket.IPPROTO_TCP, option, value)
