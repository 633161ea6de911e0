"""bm-api as a server of its own behind a kube-apiserver's aggregation layer."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import structlog
from aiohttp import web

from coordinator.endpoints import discovery
from coordinator.endpoints.callers import Caller
from coordinator.endpoints.delegated import Delegated
from coordinator.endpoints.frontproxy import CONFIG_MAP, FrontProxy, from_config_map
from coordinator.endpoints.health import Checks, health_routes
from coordinator.endpoints.replies import as_json, refused
from coordinator.endpoints.service import BmApi
from coordinator.endpoints.subresources import GROUP, VERSION, parse
from proto.errors import DpuError
from proto.reasons import Reason

REFRESH_S = 60.0

log = structlog.get_logger()


class ConfigMaps(Protocol):
    """Reads ConfigMaps."""

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """The data of a ConfigMap; NOT_FOUND when there is none."""


class Gate:
    """Finds out who calls: the front proxy's word first, then a bearer token.

    Args:
        config_maps: where the cluster's front proxy is described.
        delegated: for tokens and rights.
        tls: the listener's context; new authorities are added to it as the cluster rotates them.
    """

    def __init__(self, config_maps: ConfigMaps, delegated: Delegated, tls: ssl.SSLContext) -> None:
        self._config_maps = config_maps
        self._tls = tls
        self._proxy: FrontProxy | None = None
        self.delegated = delegated

    async def refresh(self) -> None:
        """Read again who the front proxy is."""
        proxy = from_config_map(await self._config_maps.config_map(*CONFIG_MAP))
        if self._proxy is None or proxy.authorities_pem != self._proxy.authorities_pem:
            self._tls.load_verify_locations(cadata=proxy.authorities_pem)
            log.info("front proxy's authority read", certificates=len(proxy.authorities))
        self._proxy = proxy

    async def keep_fresh(self) -> None:
        """Refresh now and then, for ever; what was read last stays valid while the API server is away."""
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self.refresh()
            except DpuError as error:
                log.warning("front proxy's description not read", why=str(error))

    async def caller(self, request: web.Request) -> Caller:
        """Who makes a request.

        Raises:
            DpuError: nobody that we can name (UNAUTHENTICATED).
        """
        tls = request.transport.get_extra_info("ssl_object") if request.transport else None
        peer = tls.getpeercert(binary_form=True) if tls is not None else None
        vouched = self._proxy.caller(request.headers, peer) if self._proxy is not None else None
        if vouched is not None:
            return vouched
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return await self.delegated.authenticate(token.strip())
        raise DpuError(
            Reason.UNAUTHENTICATED,
            "the caller is not known",
            field="Authorization",
            remedy="call through the API server, or send a bearer token",
        )


def listener_context(certificate: str, key: str) -> ssl.SSLContext:
    """TLS for the listener: a client certificate is asked for, not demanded.

    Args:
        certificate: PEM file, valid for SERVICE.NAMESPACE.svc.
        key: PEM file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def application(bm_api: BmApi, gate: Gate, checks: Checks) -> web.Application:
    """The server: discovery and health for everybody, actions for callers who are known and allowed.

    Args:
        bm_api: the actions.
        gate: who calls.
        checks: readiness.
    """

    async def act(request: web.Request) -> web.StreamResponse:
        try:
            call = parse(request.method, request.path)
            caller = await gate.caller(request)
            await gate.delegated.authorize(caller, call)
        except DpuError as error:
            return refused(error)
        return await bm_api.handle(request, call, caller)

    app = web.Application()
    app.add_routes([web.get(path, answer) for path, answer in _documents().items()])
    app.add_routes(health_routes(checks))
    app.router.add_route("*", f"/apis/{GROUP}/{VERSION}/{{rest:.*}}", act)
    return app


Handler = Callable[[web.Request], Awaitable[web.Response]]


def _documents() -> dict[str, Handler]:
    """What anybody may read, by path."""
    root = f"/apis/{GROUP}/{VERSION}"
    fixed = {
        "/": {"paths": ["/apis", f"/apis/{GROUP}", root, "/healthz", "/livez", "/openapi/v3", "/readyz"]},
        f"/apis/{GROUP}": discovery.group(),
        root: discovery.resource_list(),
        "/openapi/v3": discovery.openapi_index(),
        f"/openapi/v3{root}": discovery.openapi_document(),
    }
    return {path: _fixed(body) for path, body in fixed.items()} | {"/apis": _groups}


def _fixed(body: dict[str, object]) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        return as_json(body)

    return answer


async def _groups(request: web.Request) -> web.Response:
    """Groups, in the form that the client asks for."""
    if "as=APIGroupDiscoveryList" in request.headers.get("Accept", "").replace(" ", ""):
        reply = as_json(discovery.aggregated_list(), content_type=discovery.AGGREGATED)
    else:
        reply = as_json(discovery.group_list())
    reply.headers["Vary"] = "Accept"
    return reply
