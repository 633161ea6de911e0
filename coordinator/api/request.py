"""What a request is about, read from its method and path.

Source: apiserver's RequestInfo.
"""

from dataclasses import dataclass
from enum import Enum


class Verb(Enum):
    """What a request does, as rules and discovery name it."""

    GET = "get"
    LIST = "list"
    WATCH = "watch"
    CREATE = "create"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    DELETE_COLLECTION = "deletecollection"
    OPTIONS = "options"
    IMPERSONATE = "impersonate"
    ANY = "*"
    OTHER = "other"


@dataclass(frozen=True)
class RequestInfo:
    """Attributes of a request.

    Attributes:
        resource: plural; empty when the path is not about a resource.
        rest: path parts behind the subresource.
    """

    path: str
    verb: Verb
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    rest: tuple[str, ...] = ()


_METHODS = {
    "GET": Verb.GET,
    "HEAD": Verb.GET,
    "POST": Verb.CREATE,
    "PUT": Verb.UPDATE,
    "PATCH": Verb.PATCH,
    "DELETE": Verb.DELETE,
    "OPTIONS": Verb.OPTIONS,
}
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


def truth(text: str | None) -> bool:
    """Whether a query parameter means yes; an empty value does."""
    return text is not None and text.lower() not in {"false", "0"}


def parse(method: str, path: str, watch: str | None = None) -> RequestInfo:
    """The attributes of a request.

    Args:
        method: HTTP method.
        path: decoded path; trailing slashes mean nothing.
        watch: the query parameter of that name.
    """
    verb = _METHODS.get(method, Verb.OPTIONS)
    parts = [part for part in path.split("/") if part]
    plain = RequestInfo("/" + "/".join(parts), verb)
    if len(parts) >= 3 and parts[0] == "api":
        group, version, parts = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return plain
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    resource, name, subresource, *rest = (*parts, "", "", "")[: max(3, len(parts))]
    if not name:
        verb = {Verb.GET: Verb.LIST, Verb.DELETE: Verb.DELETE_COLLECTION}.get(verb, verb)
    if verb in {Verb.LIST, Verb.GET} and truth(watch) and not subresource:
        verb = Verb.WATCH
    return RequestInfo(plain.path, verb, group, version, namespace, resource, name, subresource, tuple(rest))
