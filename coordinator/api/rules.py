"""Who may do what: rules in the shape of Kubernetes' RBAC, bound to groups and users."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from coordinator.api.request import RequestInfo
from coordinator.api.users import AUTHENTICATED, MASTERS, UNAUTHENTICATED, UserInfo

READ = ("get", "list", "watch")
OUR_GROUPS = ("dpupool.io", "subresources.dpupool.io")
_PLAIN = (
    "configmaps", "events", "namespaces", "nodes", "nodes/status", "persistentvolumeclaims",
    "persistentvolumeclaims/status", "pods", "pods/status", "services",
)  # fmt: skip

_LOOKED_AT = (
    ("", "persistentvolumes"), ("", "replicationcontrollers"), ("apps", "daemonsets"), ("apps", "replicasets"),
    ("apps", "statefulsets"), ("batch", "jobs"), ("policy", "poddisruptionbudgets"),
    ("discovery.k8s.io", "endpointslices"), ("networking.k8s.io", "networkpolicies"),
    ("k8s.cni.cncf.io", "network-attachment-definitions"),
)  # fmt: skip
"""What pools and networks are decided by beside nodes and pods; who may read what is not served is told so."""


class Rule(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Something that is allowed; ``*`` stands for all.

    Attributes:
        verbs: get, list, watch, create, update, patch, delete, deletecollection, impersonate.
        api_groups: groups of the resources; the core group is the empty name.
        resources: plurals, ``plural/subresource``, ``*/subresource``.
        resource_names: names that it is restricted to; empty is all.
        namespaces: namespaces that it is restricted to; empty is all and the cluster's scope.
        non_resource_urls: paths; a trailing ``*`` stands for any rest.
    """

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = msgspec.field(default=(), name="nonResourceURLs")

    def allows(self, info: RequestInfo) -> bool:
        """Whether this rule covers a request."""
        if not _covers(self.verbs, info.verb.value):
            return False
        if not info.resource:
            return any(_path_fits(pattern, info.path) for pattern in self.non_resource_urls)
        return (
            _covers(self.api_groups, info.group)
            and self._covers_resource(info)
            and (not self.resource_names or info.name in self.resource_names)
            and (not self.namespaces or info.namespace in self.namespaces)
        )

    def _covers_resource(self, info: RequestInfo) -> bool:
        if not info.subresource:
            return _covers(self.resources, info.resource)
        wanted = {"*", f"{info.resource}/{info.subresource}", f"*/{info.subresource}"}
        return not wanted.isdisjoint(self.resources)


def _covers(allowed: Iterable[str], wanted: str) -> bool:
    return any(each in {"*", wanted} for each in allowed)


def _path_fits(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


class Binding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules, and whom they are for."""

    rules: tuple[Rule, ...]
    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    def concerns(self, user: UserInfo) -> bool:
        """Whether the rules are for this user."""
        return user.name in self.users or not set(self.groups).isdisjoint(user.groups)


_ALL = Rule(("*",), ("*",), ("*",), non_resource_urls=("*",))
_OPEN_PATHS = ("/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*", "/version")
_DISCOVERY_PATHS = ("/", "/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_OPEN_PATHS)

_LOOK = tuple(Rule(READ, (group,), (resource,)) for group, resource in _LOOKED_AT)

DEFAULTS: tuple[Binding, ...] = (
    Binding((_ALL,), groups=(MASTERS, "dpupool:admin")),
    Binding(
        (
            Rule(("*",), OUR_GROUPS, ("*",)),
            Rule(("*",), ("", "events.k8s.io"), (*_PLAIN, "secrets")),
            Rule(("*",), ("coordination.k8s.io",), ("leases",)),
            Rule(("create",), ("",), ("pods/eviction",)),
            Rule(READ, ("apiextensions.k8s.io",), ("customresourcedefinitions",)),
            *_LOOK,
        ),
        groups=("dpupool:coordinator",),
    ),
    Binding(
        (
            Rule(READ, OUR_GROUPS[:1], ("*",)),
            Rule(("get",), OUR_GROUPS[1:], ("*/offload", "*/stats")),
            Rule(READ, ("", "events.k8s.io"), _PLAIN),
            Rule(READ, ("coordination.k8s.io",), ("leases",)),
            Rule(READ, ("apiextensions.k8s.io",), ("customresourcedefinitions",)),
            *_LOOK,
        ),
        groups=("dpupool:viewer",),
    ),
    Binding((Rule(("create", "get"), ("",), ("nodes",)),), groups=("dpupool:joiner",)),
    Binding(
        (
            Rule(("get",), non_resource_urls=_DISCOVERY_PATHS),
            Rule(("create",), ("authorization.k8s.io",), ("selfsubjectaccessreviews", "selfsubjectrulesreviews")),
            Rule(("create",), ("authentication.k8s.io",), ("selfsubjectreviews",)),
        ),
        groups=(AUTHENTICATED,),
    ),
    Binding((Rule(("get",), non_resource_urls=_OPEN_PATHS),), groups=(UNAUTHENTICATED,)),
)


class PolicyError(Exception):
    """The policy file cannot be used; the message names file, field and remedy."""


def read_policy(path: Path) -> tuple[Binding, ...]:
    """Bindings of a YAML policy file: ``bindings: [{groups: [...], users: [...], rules: [...]}]``.

    Raises:
        PolicyError: unreadable, or not of that shape.
    """
    try:
        found = msgspec.yaml.decode(path.read_bytes(), type=dict[str, tuple[Binding, ...]])
        return found["bindings"]
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read ({error.strerror}): check the path and its owner") from error
    except (msgspec.DecodeError, KeyError) as error:
        raise PolicyError(f"{path}: {error}: a policy is `bindings:`, each with groups or users, and rules") from error


class Authorizer:
    """Decides by bindings.

    Args:
        bindings: beside the default ones.
    """

    def __init__(self, bindings: Iterable[Binding] = ()) -> None:
        self._bindings = (*DEFAULTS, *bindings)

    def rules(self, user: UserInfo) -> Iterator[Rule]:
        """What a user is allowed."""
        for binding in self._bindings:
            if binding.concerns(user):
                yield from binding.rules

    def allows(self, user: UserInfo, info: RequestInfo) -> bool:
        """Whether a user may do this."""
        return any(rule.allows(info) for rule in self.rules(user))


def refusal(user: UserInfo, info: RequestInfo) -> str:
    """Why not, in the words of Kubernetes' RBAC."""
    if not info.resource:
        return f'User "{user.name}" cannot {info.verb.value} path "{info.path}"'
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    scope = f'in the namespace "{info.namespace}"' if info.namespace else "at the cluster scope"
    return f'User "{user.name}" cannot {info.verb.value} resource "{resource}" in API group "{info.group}" {scope}'


def to_json(rule: Rule) -> dict[str, Any]:
    """A rule as SelfSubjectRulesReview lists it."""
    found: dict[str, Any] = {"verbs": list(rule.verbs)}
    if rule.non_resource_urls and not rule.resources:
        return found | {"nonResourceURLs": list(rule.non_resource_urls)}
    found |= {"apiGroups": list(rule.api_groups), "resources": list(rule.resources)}
    return found | ({"resourceNames": list(rule.resource_names)} if rule.resource_names else {})
