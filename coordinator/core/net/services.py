"""Services as load balancers of OVN.

A load balancer stands on the switch of every subnet, for OVN turns a request to a Service's address where its sender
is: there alone does a pod reach itself through a Service, and so need routers none. Endpoints are used as kube-proxy
uses them: the ready ones, and while there are none those that still serve while they end. Where the endpoints are does
not matter, inside OVN or outside, unless traffic to the cluster IPs shall stay on its node (`local`).

Node ports are the nodes' own and not made here; a headless Service and an ExternalName are names only, and one that
says so is another proxy's.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from coordinator.core.net.balancers import balancer_row, besides
from coordinator.core.net.local import LocalVip, local_rows
from coordinator.core.net.members import LAST_PORT
from coordinator.core.net.policy.model import Protocol
from coordinator.core.net.policy.spans import Family, family_of
from coordinator.core.net.rows import Ref, Row, Table, switch_key
from coordinator.core.net.vips import Vip
from coordinator.core.pool.fields import Json, items, mapping, seen_mapping, seen_text, text, texts, whole
from proto.errors import DpuError
from proto.reasons import Reason

HAIRPIN: Mapping[Family, str] = {Family.V4: "169.254.254.1", Family.V6: "fd64:7075::1"}
"""Who a pod sees that reaches itself through a Service: an address of nobody, which policies let through."""

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
PROXY_LABEL = "service.kubernetes.io/service-proxy-name"
"""On a Service: another proxy serves it, whose name is the value. Source: Kubernetes, well-known labels."""

EVERYWHERE: frozenset[str] = frozenset()
LONGEST_AFFINITY_S = 65535
DEFAULT_AFFINITY_S = 10800
HEADLESS = "None"
INTERNAL_POLICY, LOCAL = "internalTrafficPolicy", "Local"
CLUSTER_IPS, EXTERNAL_IPS, INGRESS = "spec.clusterIPs", "spec.externalIPs", "status.loadBalancer.ingress"
"""Fields that have addresses; what the API server itself gives out is in the first alone."""

RANKS = {CLUSTER_IPS: 0, INGRESS: 1, EXTERNAL_IPS: 2}
"""Whose address it is when several Services write it: what the API server gave, what a controller gave, what anybody
wrote. Otherwise who writes an address down before the API server gives it away would have its traffic."""

EXTERNAL_NAME = "ExternalName"
ADDRESS_TYPES = {"IPv4": Family.V4, "IPv6": Family.V6}
PROTOCOLS = frozenset({Protocol.TCP.value, Protocol.UDP.value, Protocol.SCTP.value})


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service; its name is what EndpointSlices call it."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a port of a Service leads to.

    Attributes:
        node: of Kubernetes; empty when nobody says.
    """

    family: Family
    address: str
    number: int
    node: str = ""

    def __str__(self) -> str:
        return joined_address(self.address, self.number)


@dataclass(slots=True)
class ServiceRows:
    """Rows of a Service, and what of it could not be done.

    Attributes:
        refused: addresses that it does not get, or not everywhere.
    """

    rows: list[Row] = field(default_factory=list)
    faults: list[DpuError] = field(default_factory=list)
    refused: list[DpuError] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Refused:
    """Where a Service does not get a virtual address.

    Attributes:
        why: for each reason an error.
        networks: on whose switches it is left out; None for everywhere.
    """

    why: tuple[DpuError, ...]
    networks: frozenset[str] | None = None


Refusal = Callable[[Vip, str], Refused | None]
"""Where a Service does not get a virtual address that a field of it asks for; None when it does everywhere."""

ChassisOf = Callable[[str], str]
"""The chassis of a node of Kubernetes; empty for a node that is none of ours."""


def service_of(slice_: Json) -> str:
    """``NAMESPACE/NAME`` of the Service that an EndpointSlice belongs to; empty when to none."""
    name = seen_text(slice_, "metadata", "labels", SERVICE_NAME_LABEL)
    return f"{seen_text(slice_, 'metadata', 'namespace')}/{name}" if name else ""


def vips_of(service: Json) -> dict[Vip, int]:
    """All that a Service asks for, with the rank of the field; nothing when it cannot be read."""
    try:
        spec = mapping(service, "spec", "")
        addresses = _addresses(service, spec)
        ports = _ports(spec) if addresses else []
        _local(spec, None, [])
        _options(spec, [])
    except DpuError:
        return {}
    return {Vip(address, port.number, port.protocol): RANKS[at] for port in ports for address, at in addresses.items()}


def service_rows(
    service: Json,
    slices: Iterable[Json],
    subnets: Iterable[str],
    refusal: Refusal = lambda _vip, _field: None,
    network_of: Callable[[str], str] = lambda _subnet: "",
    chassis_of: ChassisOf | None = None,
) -> ServiceRows:
    """The load balancers of a Service, one for each protocol, on the switches of subnets.

    Addresses that some networks do not get have load balancers of their own, on the switches of the others.

    Args:
        service: as the API shows it.
        slices: its EndpointSlices.
        subnets: names of all subnets of networks that OVN forwards for.
        refusal: whether a virtual address is somebody else's.
        network_of: the network of a subnet.
        chassis_of: None when OVN has no templates: traffic then goes to endpoints of all nodes.
    """
    found = ServiceRows()
    try:
        spec = mapping(service, "spec", "")
        addresses = _addresses(service, spec)
        ports = _ports(spec) if addresses else []
        local = _local(spec, chassis_of, found.faults if addresses else [])
        options = _options(spec, found.faults)
    except DpuError as error:
        found.faults.append(error)
        return found
    endpoints = _endpoints(slices, whether_unready(spec), found.faults)
    backends = endpoints.anywhere()
    key = f"{seen_text(service, 'metadata', 'namespace')}/{seen_text(service, 'metadata', 'name')}"
    vips: defaultdict[tuple[str, frozenset[str]], dict[str, str]] = defaultdict(dict)
    local_vips: list[LocalVip] = []
    for port in ports:
        for address, at in addresses.items():
            refused = refusal(Vip(address, port.number, port.protocol), at)
            found.refused += refused.why if refused is not None else ()
            without = refused.networks if refused is not None else EVERYWHERE
            if without is None:
                continue
            if local is not None and at == CLUSTER_IPS:
                local_vips.append(_local_vip(address, port, without, endpoints, local))
                continue
            usable = [one for one in backends[port.name, port.protocol] if one.family is family_of(address)]
            vips[port.protocol.lower(), without][joined_address(address, port.number)] = _listed(usable)
    networks = {name: network_of(name) for name in subnets}
    found.rows = [*_placed(key, vips, options, networks), *local_rows(key, local_vips, options, networks)]
    return found


def _listed(backends: Iterable[Backend]) -> str:
    """Endpoints as OVN writes them, each once."""
    return ",".join(sorted({str(one) for one in backends}))


def _placed(
    key: str,
    vips: Mapping[tuple[str, frozenset[str]], dict[str, str]],
    options: Mapping[str, str],
    subnets: Mapping[str, str],
) -> list[Row]:
    """Load balancers, and the switches that they are on.

    Args:
        vips: by protocol, and the networks that do not get them.
        subnets: with the network of each.
    """
    balancers: list[Row] = []
    on: defaultdict[str, set[Ref]] = defaultdict(set)
    for (protocol, without), vip in sorted(vips.items(), key=lambda one: (one[0][0], sorted(one[0][1]))):
        places = [name for name, network in subnets.items() if network not in without]
        if without and not places:
            continue
        balancers.append(balancer_row(".".join((key, protocol, *besides(without))), protocol, vip, options))
        for name in places:
            on[name].add(balancers[-1].ref)
    return balancers + [
        Row(Table.SWITCH, switch_key(name), {"load_balancer": frozenset(on[name])}) for name in subnets if on[name]
    ]


def joined_address(address: str, port: int) -> str:
    """Address and port in one text, as OVN writes them."""
    return f"[{address}]:{port}" if family_of(address) is Family.V6 else f"{address}:{port}"


def whether_unready(spec: Json) -> bool:
    """Whether endpoints that are not ready are meant, too."""
    return spec.get("publishNotReadyAddresses") is True


def _addresses(service: Json, spec: Json) -> dict[str, str]:
    """All addresses that the Service has, with the field that has each; none for a name only, or another proxy's."""
    if PROXY_LABEL in seen_mapping(service, "metadata", "labels"):
        return {}
    if text(spec, "type", "spec") == EXTERNAL_NAME or text(spec, "clusterIP", "spec") == HEADLESS:
        return {}
    own = texts(spec, "clusterIPs", "spec") or [text(spec, "clusterIP", "spec")]
    status = mapping(mapping(service, "status", ""), "loadBalancer", "status")
    given = [one for one in items(status, "ingress", "status.loadBalancer") if one.get("ipMode") != "Proxy"]
    listed = {
        CLUSTER_IPS: own,
        INGRESS: [text(one, "ip", INGRESS) for one in given],
        EXTERNAL_IPS: texts(spec, "externalIPs", "spec"),
    }
    found: dict[str, str] = {}
    for where, addresses in listed.items():
        for one in filter(None, addresses):
            found.setdefault(_address(one, where), where)
    return found


def _address(written: str, field: str) -> str:
    try:
        return str(ip_address(written))
    except ValueError:
        message = f"{written!r} is no address"
        raise DpuError(Reason.INVALID, message, field=field, remedy="correct the address") from None


def _ports(spec: Json) -> list[ServicePort]:
    found = []
    for at, port in enumerate(items(spec, "ports", "spec")):
        where = f"spec.ports[{at}]"
        protocol = text(port, "protocol", where) or Protocol.TCP.value
        number = whole(port, "port", where, 1, LAST_PORT)
        if protocol not in PROTOCOLS:
            message, remedy = f"protocol {protocol!r} is unknown", f"use one of {', '.join(sorted(PROTOCOLS))}"
            raise DpuError(Reason.INVALID, message, field=f"{where}.protocol", remedy=remedy)
        if number is None:
            raise DpuError(Reason.INVALID, "the port is missing", field=f"{where}.port", remedy="give its number")
        found.append(ServicePort(text(port, "name", where), protocol, number))
    return found


def stays_local(service: Json) -> bool:
    """Whether traffic to the cluster IPs of a Service shall go to endpoints of its own node alone."""
    return seen_text(service, "spec", INTERNAL_POLICY) == LOCAL


def _local(spec: Json, chassis_of: ChassisOf | None, faults: list[DpuError]) -> ChassisOf | None:
    """How endpoints are told apart by chassis; None when they are not to be."""
    if text(spec, INTERNAL_POLICY, "spec") != LOCAL:
        return None
    if chassis_of is None:
        message = "traffic goes to endpoints of all nodes"
        remedy = "leave it at Cluster: a load balancer has the same endpoints on all nodes"
        faults.append(DpuError(Reason.UNSUPPORTED, message, field=f"spec.{INTERNAL_POLICY}", remedy=remedy))
    elif text(spec, "sessionAffinity", "spec") == "ClientIP":
        message = "a client of a cluster IP keeps its endpoint until endpoints of its node come or go, not for a time"
        remedy = "use Cluster where clients must be kept for a time"
        faults.append(DpuError(Reason.UNSUPPORTED, message, field="spec.sessionAffinity", remedy=remedy))
    return chassis_of


def _local_vip(
    address: str, port: ServicePort, without: frozenset[str], endpoints: "Endpoints", chassis_of: ChassisOf
) -> LocalVip:
    there = endpoints.by_chassis((port.name, port.protocol), family_of(address), chassis_of)
    return LocalVip(
        address=address,
        number=port.number,
        protocol=port.protocol.lower(),
        without=without,
        backends={chassis: _listed(backends) for chassis, backends in sorted(there.items())},
    )


def _options(spec: Json, faults: list[DpuError]) -> dict[str, str]:
    options = {"reject": "true", "hairpin_snat_ip": " ".join(HAIRPIN.values())}
    if texts(spec, "loadBalancerSourceRanges", "spec"):
        message = "pods and servers of OVN's networks reach it whatever their address"
        remedy = "say who may reach its pods with a NetworkPolicy; for clients outside the load balancer sees to it"
        faults.append(DpuError(Reason.UNSUPPORTED, message, field="spec.loadBalancerSourceRanges", remedy=remedy))
    if text(spec, "sessionAffinity", "spec") == "ClientIP":
        at = "spec.sessionAffinityConfig.clientIP"
        config = mapping(mapping(spec, "sessionAffinityConfig", "spec"), "clientIP", "spec.sessionAffinityConfig")
        asked = whole(config, "timeoutSeconds", at, 1) or DEFAULT_AFFINITY_S
        options["affinity_timeout"] = str(min(asked, LONGEST_AFFINITY_S))
        if asked > LONGEST_AFFINITY_S:
            message, remedy = f"{asked} s are cut to {LONGEST_AFFINITY_S} s", "OVN keeps no longer affinity"
            faults.append(DpuError(Reason.OUT_OF_RANGE, message, field=f"{at}.timeoutSeconds", remedy=remedy))
    return options


Backends = defaultdict[tuple[str, str], list[Backend]]
"""By name of the port and protocol."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Those that may be used: ready, and ending ones that still serve."""

    ready: Backends
    ending: Backends

    def anywhere(self) -> Backends:
        """Endpoints to use, decided for each family and port as kube-proxy does."""
        found = defaultdict(list, {key: list(backends) for key, backends in self.ready.items()})
        for key, backends in self.ending.items():
            served = {one.family for one in found[key]}
            found[key] += [one for one in backends if one.family not in served]
        return found

    def by_chassis(self, port: tuple[str, str], family: Family, chassis_of: ChassisOf) -> Mapping[str, list[Backend]]:
        """Endpoints of one port and family to use on each chassis, decided for each as kube-proxy does."""
        ready, ending = (
            _grouped((one for one in backends.get(port, ()) if one.family is family), chassis_of)
            for backends in (self.ready, self.ending)
        )
        return {**ending, **ready}


def _grouped(backends: Iterable[Backend], chassis_of: ChassisOf) -> Mapping[str, list[Backend]]:
    """Endpoints by chassis; those of nodes that are none of ours are nobody's."""
    found: defaultdict[str, list[Backend]] = defaultdict(list)
    for one in backends:
        chassis = chassis_of(one.node) if one.node else ""
        if chassis:
            found[chassis].append(one)
    return found


def _endpoints(slices: Iterable[Json], unready: bool, faults: list[DpuError]) -> Endpoints:  # noqa: FBT001
    found = Endpoints(defaultdict(list), defaultdict(list))
    for slice_ in slices:
        try:
            _sort_in(slice_, unready, found.ready, found.ending)
        except DpuError as error:
            faults.append(error)
    return found


def _sort_in(slice_: Json, unready: bool, ready: Backends, ending: Backends) -> None:  # noqa: FBT001
    family = ADDRESS_TYPES.get(text(slice_, "addressType", ""))
    if family is None:
        return
    for endpoint in items(slice_, "endpoints", ""):
        condition = seen_mapping(endpoint, "conditions")
        addresses = texts(endpoint, "addresses", "endpoints")
        is_ready = unready or condition.get("ready") is not False
        serves = condition.get("serving") is not False and condition.get("terminating") is True
        if not addresses or not (is_ready or serves):
            continue
        for at, port in enumerate(items(slice_, "ports", "")):
            number = whole(port, "port", f"ports[{at}]", 1, LAST_PORT)
            key = (text(port, "name", f"ports[{at}]"), text(port, "protocol", f"ports[{at}]") or Protocol.TCP.value)
            if number is not None:
                address, node = _address(addresses[0], "endpoints.addresses"), seen_text(endpoint, "nodeName")
                (ready if is_ready else ending)[key].append(Backend(family, address, number, node))
