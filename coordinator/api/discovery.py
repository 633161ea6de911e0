"""What is served, told in the classic and in the aggregated form."""

from collections.abc import Iterable, Iterator, Sequence

from coordinator.api.kinds import Kind, Registry
from coordinator.api.negotiation import accepted
from coordinator.api.objects import Obj
from coordinator.api.routes import ExtraResource, RouteGroup

AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_READ_WRITE = ("get", "patch", "update")
_VERSION_ORDER = ("v1",)


def wants_aggregated(accept: str) -> bool:
    """Whether an Accept header prefers aggregated discovery, v2."""
    for entry in accepted(accept):
        if entry.name == "application/json" and entry.params.get("as") == "APIGroupDiscoveryList":
            if entry.params.get("g") == "apidiscovery.k8s.io" and entry.params.get("v") == "v2":
                return True
        elif entry.name in {"application/json", "*/*"}:
            return False
    return False


def _response_kind(group: str, version: str, kind: str) -> Obj:
    return {"group": group, "version": version, "kind": kind}


def _subresources(kind: Kind) -> Iterator[tuple[str, Obj, tuple[str, ...]]]:
    if kind.status:
        yield "status", _response_kind(kind.group, kind.version, kind.kind), _READ_WRITE
    if kind.scale:
        yield "scale", _response_kind("autoscaling", "v1", "Scale"), _READ_WRITE


class Discovery:
    """Tells what is served.

    Args:
        registry: kinds with objects.
        extra: what others added.
    """

    def __init__(self, registry: Registry, extra: Sequence[RouteGroup]) -> None:
        self._registry = registry
        self._extra = [group for group in extra if group.resources]

    def groups(self) -> dict[str, list[str]]:
        """Versions by group; the core group is the empty name."""
        found = self._registry.groups()
        for route in self._extra:
            versions = found.setdefault(route.group, [])
            if route.version not in versions:
                versions.append(route.version)
        return found

    def _extras(self, group: str, version: str) -> Iterator[ExtraResource]:
        for route in self._extra:
            if (route.group, route.version) == (group, version):
                yield from route.resources

    def resource_list(self, group: str, version: str) -> Obj | None:
        """The classic APIResourceList, or None when nothing is served there."""
        if version not in self.groups().get(group, ()):
            return None
        rows = [row for kind in self._registry.of(group, version) for row in _classic(kind)]
        for extra in self._extras(group, version):
            row: Obj = {"name": extra.name, "singularName": extra.singular, "namespaced": extra.namespaced}
            rows.append(row | {"kind": extra.kind, "verbs": list(extra.verbs)})
        name = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": rows}

    def group(self, name: str) -> Obj | None:
        """The classic APIGroup, or None."""
        versions = self.groups().get(name)
        if not name or versions is None:
            return None
        rows = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
        return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": rows, "preferredVersion": rows[0]}

    def group_list(self) -> Obj:
        """The classic APIGroupList."""
        found = [self.group(name) for name in self.groups() if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_bare(group) for group in found if group]}

    @staticmethod
    def versions(address: str) -> Obj:
        """The classic APIVersions of the core group."""
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}

    def aggregated(self, *, core: bool) -> Obj:
        """The APIGroupDiscoveryList of the core group, or of all others."""
        items = []
        for name, versions in self.groups().items():
            if (not name) != core:
                continue
            entries = [
                {"version": version, "freshness": "Current", "resources": list(self._resources(name, version))}
                for version in versions
            ]
            metadata: Obj = {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None}
            items.append({"metadata": metadata, "versions": entries})
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }

    def _resources(self, group: str, version: str) -> Iterator[Obj]:
        for kind in self._registry.of(group, version):
            yield _aggregated(kind)
        yield from _aggregated_extras(self._extras(group, version), group, version)


def _bare(group: Obj) -> Obj:
    return {name: value for name, value in group.items() if name not in {"kind", "apiVersion"}}


def _classic(kind: Kind) -> Iterator[Obj]:
    row: Obj = {"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind}
    row["verbs"] = list(kind.verbs)
    if kind.short_names:
        row["shortNames"] = list(kind.short_names)
    if kind.categories:
        row["categories"] = list(kind.categories)
    yield row
    for name, response, verbs in _subresources(kind):
        below: Obj = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
        below |= {"kind": response["kind"], "verbs": list(verbs)}
        if response["group"] != kind.group:
            below |= {"group": response["group"], "version": response["version"]}
        yield below


def _aggregated(kind: Kind) -> Obj:
    row: Obj = {"resource": kind.plural, "responseKind": _response_kind(kind.group, kind.version, kind.kind)}
    row |= {"scope": "Namespaced" if kind.namespaced else "Cluster", "singularResource": kind.singular}
    row["verbs"] = list(kind.verbs)
    if kind.short_names:
        row["shortNames"] = list(kind.short_names)
    if kind.categories:
        row["categories"] = list(kind.categories)
    below = [
        {"subresource": name, "responseKind": response, "verbs": list(verbs)}
        for name, response, verbs in _subresources(kind)
    ]
    return row | ({"subresources": below} if below else {})


def _aggregated_extras(extras: Iterable[ExtraResource], group: str, version: str) -> Iterator[Obj]:
    """Extra resources; subresources without a parent hang on one that has no kind, which clients skip."""
    rows: dict[str, Obj] = {}
    for extra in extras:
        row = rows.setdefault(
            extra.resource,
            {
                "resource": extra.resource,
                "scope": "Namespaced" if extra.namespaced else "Cluster",
                "singularResource": extra.singular,
                "verbs": [],
            },
        )
        response = _response_kind(group, version, extra.kind)
        if extra.subresource:
            entry = {"subresource": extra.subresource, "responseKind": response, "verbs": list(extra.verbs)}
            row.setdefault("subresources", []).append(entry)
        else:
            row |= {"responseKind": response, "verbs": list(extra.verbs)}
    yield from rows.values()
