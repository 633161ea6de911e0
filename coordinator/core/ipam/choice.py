"""Which subnets a pod's port may come from, the best first, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from coordinator.core.objects.network import Network, Subnet
from coordinator.core.pool.selectors import Selector, parse_selector
from proto.errors import DpuError
from proto.reasons import Reason

EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRequest:
    """What is asked for a port; empty is whatever comes.

    Attributes:
        holder: who it is for, as the address book has it.
        uid, nic: who it is for, so that a chosen MAC is the same each time.
        namespace, labels: of the pod's namespace.
        network, subnet, pool: by name.
        addresses: at most one of each family, without prefix length.
        exact: nothing of a family that `addresses` has none of.
        where: names of the annotations that ask, by attribute, for messages.
    """

    holder: str
    uid: str
    nic: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    subnet: str = ""
    pool: str = ""
    addresses: tuple[str, ...] = ()
    mac: str = ""
    exact: bool = False
    where: Mapping[str, str] = field(default_factory=dict)

    def field_of(self, attribute: str) -> str:
        """Where something was asked for."""
        return self.where.get(attribute, attribute)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """Networks and subnets that there are, by name."""

    networks: Mapping[str, Network]
    subnets: Mapping[str, Subnet]

    def default(self) -> Network | None:
        """The network of pods that ask for none; the oldest when several say so."""
        asking = [one for one in self.networks.values() if one.spec.default and not one.metadata.deleting]
        return min(asking, key=_age, default=None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A subnet, and why it may be used."""

    subnet: Subnet
    why: str


def wants_own_network(request: PortRequest, segments: Segments) -> bool:
    """Whether the pods of a namespace are ours to give a network of their own: they ask, or there is a default."""
    if request.subnet or request.network or segments.default() is not None:
        return True
    return any(claims(subnet, request) for subnet in segments.subnets.values())


def claims(subnet: Subnet, request: PortRequest) -> str:
    """How a subnet claims a namespace: ``list``, ``selector``, or empty when it does not.

    A selector that cannot be read claims nobody, or one wrong Subnet would keep addresses from all pods.
    """
    if request.namespace in subnet.spec.namespaces:
        return "list"
    try:
        return "selector" if namespaces_of(subnet).matches(request.labels) else ""
    except DpuError:
        return ""


def namespaces_of(subnet: Subnet) -> Selector:
    """The namespaces that a subnet claims by label.

    Raises:
        DpuError: INVALID; names the field of the selector that cannot be read.
    """
    selector = subnet.spec.namespace_selector
    return parse_selector(None if selector is None else msgspec.to_builtins(selector), "spec.namespaceSelector")


def is_open(subnet: Subnet) -> bool:
    """Whether a subnet claims no namespace: it is for all."""
    return not subnet.spec.namespaces and subnet.spec.namespace_selector is None


def candidates_of(request: PortRequest, segments: Segments) -> list[Candidate]:
    """Subnets that may be used, the best first; never empty.

    The one that is asked for; or those that claim the pod's namespace, by list before selector and of the default
    network before others; or those of the default network that claim no namespace. Of several, the oldest first.

    Raises:
        DpuError: there is none; names the field that asks, and the remedy.
    """
    if request.subnet:
        return [_named(request, segments)]
    network = _network(request, segments)
    inside = _subnets_of(segments, network.metadata.name)
    if request.network:
        found = _claiming(request, inside) + _open(inside, f"of network {network.metadata.name}")
    else:
        others = [one for one in segments.subnets.values() if one.spec.network_ref.name != network.metadata.name]
        claiming = _claiming(request, inside) or _claiming(request, sorted(others, key=_age))
        found = claiming or _open(inside, f"of the default network {network.metadata.name}")
    lasting = [one for one in found if _is_there(segments, one.subnet.spec.network_ref.name)]
    if found and not lasting:
        raise _no_network_of(found[0].subnet, request.field_of("network"))
    if not lasting:
        raise DpuError(
            Reason.NOT_FOUND,
            f"network {network.metadata.name} has no subnet for pods of namespace {request.namespace}",
            field=request.field_of("network"),
            remedy="create a Subnet of this network, or add the namespace to spec.namespaces of one",
        )
    return lasting


def _is_there(segments: Segments, network: str) -> bool:
    """Whether a network gives addresses: one that is being deleted gives none."""
    found = segments.networks.get(network)
    return found is not None and not found.metadata.deleting


def _named(request: PortRequest, segments: Segments) -> Candidate:
    subnet = segments.subnets.get(request.subnet)
    where = request.field_of("subnet")
    if subnet is None or subnet.metadata.deleting:
        raise DpuError(
            Reason.NOT_FOUND,
            f"subnet {request.subnet} does not exist",
            field=where,
            remedy="create the Subnet, or name one that `kubectl get subnets` shows",
        )
    network = subnet.spec.network_ref.name
    if request.network and network != request.network:
        raise DpuError(
            Reason.INVALID,
            f"subnet {request.subnet} is of network {network}, not of {request.network}",
            field=where,
            remedy="name a subnet of that network, or leave one of the two out",
        )
    if not _is_there(segments, network):
        raise _no_network_of(subnet, where)
    if not is_open(subnet) and not claims(subnet, request):
        raise DpuError(
            Reason.FORBIDDEN,
            f"subnet {request.subnet} is not for namespace {request.namespace}",
            field=where,
            remedy="add the namespace to spec.namespaces of the Subnet, or use another subnet",
        )
    return Candidate(subnet, f"{where} names it")


def _network(request: PortRequest, segments: Segments) -> Network:
    """The network that is asked for, or the default one, or that of a subnet which claims the namespace."""
    if request.network:
        if not _is_there(segments, request.network):
            message = f"network {request.network} does not exist, or is being deleted"
            raise _no_network(message, request.field_of("network"))
        return segments.networks[request.network]
    default = segments.default()
    if default is not None:
        return default
    claiming = _claiming(request, sorted(segments.subnets.values(), key=_age))
    for name in (candidate.subnet.spec.network_ref.name for candidate in claiming):
        if _is_there(segments, name):
            return segments.networks[name]
    if claiming:
        raise _no_network_of(claiming[0].subnet, request.field_of("network"))
    raise DpuError(
        Reason.NOT_FOUND,
        f"no network is the default one, and no subnet claims namespace {request.namespace}",
        field=request.field_of("network"),
        remedy="set spec.default of a Network, or add the namespace to spec.namespaces of a Subnet",
    )


def _no_network_of(subnet: Subnet, where: str) -> DpuError:
    name = subnet.spec.network_ref.name
    return _no_network(f"network {name} of subnet {subnet.metadata.name} does not exist, or is being deleted", where)


def _no_network(message: str, where: str) -> DpuError:
    return DpuError(
        Reason.NOT_FOUND,
        message,
        field=where,
        remedy="create the Network, or name one that `kubectl get networks` shows",
    )


def _subnets_of(segments: Segments, network: str) -> list[Subnet]:
    inside = [one for one in segments.subnets.values() if one.spec.network_ref.name == network]
    return sorted((one for one in inside if not one.metadata.deleting), key=_age)


def _claiming(request: PortRequest, subnets: Iterable[Subnet]) -> list[Candidate]:
    """Those that claim the namespace: by list first."""
    found: dict[str, list[Candidate]] = {"list": [], "selector": []}
    for subnet in subnets:
        how = claims(subnet, request) if not subnet.metadata.deleting else ""
        if how:
            found[how].append(Candidate(subnet, f"it claims namespace {request.namespace} by {how}"))
    return found["list"] + found["selector"]


def _open(subnets: Iterable[Subnet], what: str) -> list[Candidate]:
    return [Candidate(subnet, f"it is open and {what}") for subnet in subnets if is_open(subnet)]


def _age(one: Network | Subnet) -> tuple[datetime, str]:
    return (one.metadata.creation_timestamp or EARLIEST, one.metadata.name)
