"""The server: one aiohttp application that authenticates, authorizes, and hands each request to its room."""

import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from coordinator.api import bodies, errors, rules
from coordinator.api.bodies import answer
from coordinator.api.builtin import KINDS
from coordinator.api.crds import Custom
from coordinator.api.discovery import AGGREGATED_TYPE, Discovery, wants_aggregated
from coordinator.api.errors import ApiError
from coordinator.api.gc import Collector
from coordinator.api.kinds import Registry
from coordinator.api.objects import Obj
from coordinator.api.openapi import V2_TYPE, OpenApi
from coordinator.api.request import RequestInfo, Verb, parse
from coordinator.api.resources import Resources
from coordinator.api.reviews import Reviews
from coordinator.api.routes import Call, Handler, RouteGroup
from coordinator.api.rules import Authorizer
from coordinator.api.seeding import seed
from coordinator.api.store import Store
from coordinator.api.users import ANONYMOUS, AUTHENTICATED, Authenticator, UserInfo
from coordinator.api.writes import Writes

VERSION: Obj = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0+dpupool",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
"""The API level that is spoken; clients warn when it is far from theirs."""

Log = structlog.stdlib.get_logger


@dataclass(frozen=True)
class Auth:
    """How requests are let in.

    Attributes:
        authenticator: knows who asks.
        authorizer: knows who may do what.
    """

    authenticator: Authenticator = field(default_factory=Authenticator)
    authorizer: Authorizer = field(default_factory=Authorizer)


class ApiServer:
    """A Kubernetes-style API on a store.

    Args:
        store: open store; closed by ``close``.
        customs: custom kinds, as ``crds.load`` reads them.
        auth: who may do what.
        extra: what others add.
    """

    def __init__(
        self, store: Store, customs: Sequence[Custom], auth: Auth | None = None, extra: Iterable[RouteGroup] = ()
    ) -> None:
        self._auth = auth or Auth()
        self.store = store
        self.registry = Registry((*KINDS, *(kind for custom in customs for kind in custom.kinds)))
        self.writes = Writes(store, self.registry)
        self._manifests = [custom.manifest for custom in customs]
        self._reviews = Reviews(self._auth.authenticator, self._auth.authorizer)
        self._extra = (*self._reviews.route_groups(), *extra)
        self._resources = Resources(self.writes)
        self._collector = Collector(self.writes)
        self._discovery = Discovery(self.registry, self._extra)
        self._openapi = OpenApi(self.registry)
        self._paths = self._own_paths()
        for group in self._extra:
            self._paths |= group.paths
        self._runner: web.AppRunner | None = None
        self._log = Log("coordinator.api")

    def app(self) -> web.Application:
        """The application; the server starts and stops with it."""
        app = web.Application(client_max_size=bodies.LIMIT_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_startup.append(self._start)
        app.on_shutdown.append(self._shutdown)
        app.on_cleanup.append(self._stop)
        return app

    async def _start(self, _: web.Application) -> None:
        await self.store.start()
        await seed(self.writes, self._manifests)
        self._collector.start()

    async def _shutdown(self, _: web.Application) -> None:
        self._resources.end_watches()

    async def _stop(self, _: web.Application) -> None:
        await self._collector.stop()
        await self.store.close()

    async def start(self, open_sites: Iterable[Callable[[web.AppRunner], web.BaseSite]]) -> None:
        """Serve on sites, such as ``lambda runner: web.SockSite(runner, sock, ssl_context=context)``."""
        self._runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=5.0)
        await self._runner.setup()
        for open_site in open_sites:
            await open_site(self._runner).start()

    async def close(self) -> None:
        """End the streams, finish the writes, close the store."""
        if self._runner:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        began = time.perf_counter()
        user, error = ANONYMOUS, None
        try:
            info = parse(request.method, request.path, request.query.get("watch"))
            user = self._identify(request)
            self._authorize(user, info)
            response = await self._dispatch(Call(_stripped(request), info, user))
        except ApiError as refused:
            error = refused
            response = bodies.refusal(refused)
        except RecursionError:
            error = errors.bad_request("the body is nested too deeply")
            response = bodies.refusal(error)
        except Exception as fault:  # noqa: BLE001
            # the outermost frame of a request: the client gets a Status, the log the trace
            where = errors.trace(fault)
            self._log.error("request failed", method=request.method, path=request.path, user=user.name, trace=where)
            error = ApiError(500, "InternalError", "Internal error occurred; the server's log tells more")
            response = bodies.refusal(error)
        reads = request.method in {"GET", "HEAD"} and error is None
        (self._log.debug if reads else self._log.info)(
            "request", method=request.method, path=request.path, user=user.name, code=response.status,
            reason=error.reason if error else "", ms=round((time.perf_counter() - began) * 1000, 2),
        )  # fmt: skip
        return response

    def _identify(self, request: web.Request) -> UserInfo:
        header = request.headers.get("Authorization", "")
        if header:
            scheme, _, token = header.partition(" ")
            user = self._auth.authenticator.by_token(token.strip()) if scheme.lower() == "bearer" else None
            if user is None:
                raise errors.unauthorized()
        else:
            peer = request.transport.get_extra_info("peercert") if request.transport else None
            user = self._auth.authenticator.by_certificate(peer) or ANONYMOUS
        return self._impersonated(request, user)

    def _authorize(self, user: UserInfo, info: RequestInfo) -> None:
        if not self._auth.authorizer.allows(user, info):
            if user is ANONYMOUS:
                raise errors.unauthorized()
            raise _forbidden(user, info)

    def _impersonated(self, request: web.Request, user: UserInfo) -> UserInfo:
        """The user that the caller asks to be taken for, when it may."""
        name = request.headers.get("Impersonate-User")
        if not name:
            return user
        groups = request.headers.getall("Impersonate-Group", [])
        wanted = [("users", name), *(("groups", group) for group in groups)]
        for resource, each in wanted:
            info = RequestInfo("", Verb.IMPERSONATE, resource=resource, name=each)
            if not self._auth.authorizer.allows(user, info):
                raise _forbidden(user, info)
        return UserInfo(name, (*groups, AUTHENTICATED))

    async def _dispatch(self, call: Call) -> web.StreamResponse:
        info = call.info
        handler = self._paths.get(info.path)
        if handler:
            return await handler(call)
        if not info.resource:
            return self._describe(call)
        for group in self._extra:
            if found := group.find(info):
                if info.verb.value not in found.verbs:
                    raise errors.method_not_allowed(info.verb.value)
                return await found.handler(call)
        return await self._resources.serve(call, self.registry.get(info.group, info.version, info.resource))

    def _own_paths(self) -> dict[str, Handler]:
        health: dict[str, Handler] = dict.fromkeys(("/livez", "/livez/ping", "/healthz/ping"), self._alive)
        health |= dict.fromkeys(("/healthz", "/readyz"), self._ready)
        return health | {
            "/": self._root,
            "/api": self._api,
            "/apis": self._apis,
            "/version": self._version,
            "/openapi/v2": self._openapi_v2,
            "/openapi/v3": self._openapi_v3,
        }

    async def _alive(self, _: Call) -> web.StreamResponse:
        return web.Response(text="ok")

    async def _ready(self, _: Call) -> web.StreamResponse:
        """Ready means that the last write reached the disk."""
        if self.store.trouble:
            return web.Response(text=f"[-]store failed: {self.store.trouble}\n", status=500)
        return web.Response(text="ok")

    async def _root(self, _: Call) -> web.StreamResponse:
        paths = sorted([*self._paths, *(f"/apis/{name}" for name in self._discovery.groups() if name), "/api/v1"])
        return answer({"paths": paths})

    async def _version(self, _: Call) -> web.StreamResponse:
        return answer(VERSION)

    async def _api(self, call: Call) -> web.StreamResponse:
        return self._discovered(call, Discovery.versions(call.request.host), core=True)

    async def _apis(self, call: Call) -> web.StreamResponse:
        return self._discovered(call, self._discovery.group_list(), core=False)

    def _discovered(self, call: Call, classic: Obj, *, core: bool) -> web.StreamResponse:
        if wants_aggregated(call.request.headers.get("Accept", "")):
            response = answer(self._discovery.aggregated(core=core), content_type=AGGREGATED_TYPE)
        else:
            response = answer(classic)
        response.headers["Vary"] = "Accept"
        return response

    async def _openapi_v2(self, _: Call) -> web.StreamResponse:
        return answer(b"", content_type=V2_TYPE)

    async def _openapi_v3(self, _: Call) -> web.StreamResponse:
        return answer(self._openapi.index)

    def _describe(self, call: Call) -> web.StreamResponse:
        """What is served below a path that names no resource."""
        if call.info.verb is not Verb.GET:
            raise errors.method_not_allowed(call.info.verb.value)
        parts = call.info.path.split("/")[1:]
        found: Any = None
        if parts[:2] == ["openapi", "v3"]:
            found = self._openapi.documents.get("/".join(parts[2:]))
        elif parts[0] == "api" and len(parts) == 2:
            found = self._discovery.resource_list("", parts[1])
        elif parts[0] == "apis" and len(parts) == 2:
            found = self._discovery.group(parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            found = self._discovery.resource_list(parts[1], parts[2])
        if found is None:
            raise errors.no_such_path()
        return answer(found)


def _forbidden(user: UserInfo, info: RequestInfo) -> ApiError:
    why = rules.refusal(user, info)
    if not info.resource:
        return ApiError(403, "Forbidden", f"forbidden: {why}")
    return errors.forbidden(info.resource, info.group, info.name, why)


def _stripped(request: web.Request) -> web.Request:
    """The request without headers that only a front proxy may set."""
    if not any(name.lower().startswith("x-remote-") for name in request.headers):
        return request
    kept = [(name, value) for name, value in request.headers.items() if not name.lower().startswith("x-remote-")]
    return request.clone(headers=dict(kept))


def build_app(
    store: Store, customs: Sequence[Custom], auth: Auth | None = None, extra: Iterable[RouteGroup] = ()
) -> web.Application:
    """The application of a server; see ApiServer for the arguments."""
    return ApiServer(store, customs, auth, extra).app()


def tls_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """TLS for the server: client certificates are asked for, not demanded; tokens work on the same port.

    Raises:
        OSError, ssl.SSLError: a file is missing or is no PEM.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
