"""The endpoints as additions to the embedded API server."""

from aiohttp import web

from coordinator.api.routes import Call, ExtraResource, RouteGroup
from coordinator.endpoints import discovery
from coordinator.endpoints.callers import Caller
from coordinator.endpoints.health import Checks, metrics, readiness
from coordinator.endpoints.replies import refused
from coordinator.endpoints.service import BmApi
from coordinator.endpoints.subresources import GROUP, RESOURCE, VERSION, Action, parse
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
            name=f"{RESOURCE}/{action.value}",
            kind=discovery.KIND,
            namespaced=True,
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
