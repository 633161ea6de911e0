"""How others add to the server: resources and subresources of a group, and plain paths.

A RouteGroup's handlers are called after authentication and authorization, with the user and the request's
attributes; a console is ``baremetalmachines/console`` of ``subresources.dpupool.io/v1alpha1`` to rules and discovery.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from coordinator.api.request import RequestInfo
from coordinator.api.users import UserInfo


@dataclass(frozen=True)
class Call:
    """A request that was let in."""

    request: web.Request
    info: RequestInfo
    user: UserInfo


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class ExtraResource:
    """A resource that no store stands behind.

    Attributes:
        name: plural, or ``plural/subresource``.
        kind: kind of what it answers.
        verbs: as discovery tells and the server enforces; GET is ``get``, POST ``create``, PUT ``update``.
        handler: answers; raises ApiError to refuse.
    """

    name: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    handler: Handler = field(compare=False)
    singular: str = ""

    @property
    def resource(self) -> str:
        """The plural."""
        return self.name.partition("/")[0]

    @property
    def subresource(self) -> str:
        """The subresource, or nothing."""
        return self.name.partition("/")[2]


@dataclass(frozen=True)
class RouteGroup:
    """What somebody adds.

    Attributes:
        group: API group; empty when only paths are added.
        version: of the group.
        resources: what is served in the group.
        paths: handlers by exact path, such as ``/metrics``; to rules they are non-resource paths.
    """

    group: str = ""
    version: str = ""
    resources: tuple[ExtraResource, ...] = ()
    paths: dict[str, Handler] = field(default_factory=dict)

    def find(self, info: RequestInfo) -> ExtraResource | None:
        """The resource that a request is about."""
        if (info.group, info.version) != (self.group, self.version):
            return None
        wanted = (info.resource, info.subresource)
        return next((each for each in self.resources if (each.resource, each.subresource) == wanted), None)
