"""The endpoints where they are served: inside the embedded API server, or behind a real one's aggregation layer."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from lightkube.config.kubeconfig import KubeConfig

from coordinator.api.routes import Call, ExtraResource, RouteGroup
from coordinator.clients.reviews import KubeReviews
from coordinator.endpoints import discovery
from coordinator.endpoints.aggregated import Gate, application, listener_context
from coordinator.endpoints.callers import Caller
from coordinator.endpoints.delegated import Delegated
from coordinator.endpoints.health import Checks, metrics, readiness
from coordinator.endpoints.replies import refused
from coordinator.endpoints.service import BmApi
from coordinator.endpoints.subresources import GROUP, VERSION, Action, parse
from proto.errors import DpuError


def bm_api_group(bm_api: BmApi) -> RouteGroup:
    """bm-api's group; the server has authenticated and authorized before a handler runs.

    Args:
        bm_api: the actions.
    """

    async def act(call: Call) -> web.StreamResponse:
        try:
            meant = parse(call.request.method, call.info.path)
        except DpuError as error:
            return refused(error)
        return await bm_api.handle(call.request, meant, Caller(call.user.name, call.user.groups, call.user.uid))

    resources = tuple(
        ExtraResource(
            name=action.path,
            kind=discovery.KINDS[action.resource],
            namespaced=action.namespaced,
            verbs=tuple(discovery.verbs(action)),
            handler=act,
        )
        for action in Action
    )
    return RouteGroup(GROUP, VERSION, resources)


def operation_paths(checks: Checks) -> RouteGroup:
    """``/metrics`` of this process and ``/controllers`` with the readiness of its controllers.

    Args:
        checks: of the controllers.
    """

    async def show_metrics(_call: Call) -> web.StreamResponse:
        return metrics(checks)

    async def show_readiness(_call: Call) -> web.StreamResponse:
        return readiness(checks)

    return RouteGroup(paths={"/metrics": show_metrics, "/controllers": show_readiness})


@asynccontextmanager
async def aggregated_server(
    config: KubeConfig, bm_api: BmApi, checks: Checks, listener: socket.socket, certificate: Path, key: Path
) -> AsyncIterator[None]:
    """bm-api as a server behind the aggregation layer of a Kubernetes cluster, until the block ends.

    Args:
        config: of that cluster, as an account with the roles of packaging/kubernetes/rbac.yaml.
        bm_api: the actions.
        checks: readiness.
        listener: a socket that listens; its owner closes it.
        certificate: PEM file, valid for SERVICE.NAMESPACE.svc.
        key: PEM file.

    Raises:
        DpuError: the cluster's front proxy cannot be read.
    """
    reviews = KubeReviews(config)
    tls = listener_context(str(certificate), str(key))
    gate = Gate(reviews, Delegated(reviews), tls)
    runner = web.AppRunner(application(bm_api, gate, checks), access_log=None, shutdown_timeout=5.0)
    refreshing: asyncio.Task[None] | None = None
    try:
        await gate.refresh()
        await runner.setup()
        await web.SockSite(runner, listener, ssl_context=tls).start()
        refreshing = asyncio.create_task(gate.keep_fresh(), name="front proxy")
        yield
    finally:
        if refreshing is not None:
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)
        await bm_api.close()
        await runner.cleanup()
        await reviews.close()
