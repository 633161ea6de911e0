"""What is wrong with a network or a subnet, as one sentence; pure."""

from collections.abc import Collection, Iterable

from coordinator.core.ipam.book import AddressBook
from coordinator.core.ipam.plan import AddressPlan
from coordinator.core.net.segment import exit_of, segment_of
from coordinator.core.objects.network import Network, NetworkDriver, Subnet
from proto.errors import DpuError
from proto.reasons import Reason

NO_OVN = "no OVN is configured"
NO_OVN_REMEDY = "write [ovn] northbound in the settings of the coordinator, or use driver bridge"


def network_problem(
    network: Network, networks: Iterable[Network], nodes: Collection[str], *, ovn: bool
) -> DpuError | None:
    """Why a network is not what it asks to be; None when it is.

    Args:
        networks: all that there are: one alone may be the default.
        nodes: names of the NetworkNodes.
        ovn: whether the coordinator has an OVN.
    """
    elder = _elder_default(network, networks)
    if elder:
        message = f"network {elder} is the default already"
        return DpuError(Reason.ALREADY_EXISTS, message, field="spec.default", remedy=f"take it from {elder} first")
    if network.spec.driver is not NetworkDriver.OVN:
        return None
    if not ovn:
        return DpuError(Reason.WRONG_STATE, NO_OVN, field="spec.driver", remedy=NO_OVN_REMEDY)
    try:
        exit_of(network)
    except DpuError as error:
        return error
    return _gateway_problem(network, nodes)


def subnet_problem(subnet: Subnet, network: Network, *, ovn: bool) -> DpuError | None:
    """Why OVN cannot have a subnet; None when it can, or is not asked to."""
    if network.spec.driver is not NetworkDriver.OVN:
        return None
    if not ovn:
        message = f"{NO_OVN}, and network {network.metadata.name} needs one"
        return DpuError(Reason.WRONG_STATE, message, field="spec.networkRef.name", remedy=NO_OVN_REMEDY)
    try:
        segment_of(subnet, network)
    except DpuError as error:
        return error
    return None


def trespass(subnet: str, plans: Iterable[AddressPlan], book: AddressBook) -> DpuError | None:
    """Who has the address of a subnet's gateway or probe; None for nobody.

    Nobody gets such an address: who has it was there before the subnet was edited.

    Args:
        plans: of the subnet, that of `cidr` first.
    """
    for plan, gateway in zip(plans, ("gateway", "gatewayV6"), strict=False):
        for address, field in ((plan.gateway, gateway), (plan.probe, "probeAddress")):
            holding = book.of_address(subnet, address) if address is not None else None
            if holding is not None:
                message = f"{address} belongs to {holding.words}, which would lose its traffic"
                remedy = f"write another address, or delete {holding.words}"
                return DpuError(Reason.ALREADY_EXISTS, message, field=f"spec.{field}", remedy=remedy)
    return None


def _gateway_problem(network: Network, nodes: Collection[str]) -> DpuError | None:
    gateway = network.spec.gateway
    if gateway is None:
        if not network.spec.egress_nat:
            return None
        remedy = "write spec.gateway, or leave egressNAT out"
        message = "there is no gateway whose address pods could leave with"
        return DpuError(Reason.INVALID, message, field="spec.egressNAT", remedy=remedy)
    unknown = [node for node in gateway.nodes if node not in nodes]
    usable = len(set(gateway.nodes) & set(nodes)) if gateway.nodes else len(nodes)
    if unknown or not usable:
        named = f"NetworkNode {unknown[0]} does not exist" if unknown else "there is no NetworkNode"
        left = f"; {usable} of its gateways can be used" if usable else ", so nothing leaves this network"
        remedy = "name NetworkNodes that `kubectl get networknodes` shows"
        return DpuError(Reason.NOT_FOUND, f"{named}{left}", field="spec.gateway.nodes", remedy=remedy)
    return None


def _elder_default(network: Network, networks: Iterable[Network]) -> str:
    """Name of the network that is the default instead of this one, the oldest; empty for none."""
    if not network.spec.default:
        return ""
    asking = [one for one in networks if one.spec.default and not one.metadata.deleting]
    first = min(asking, key=_age, default=network)
    return first.metadata.name if first.metadata.uid != network.metadata.uid else ""


def _age(network: Network) -> tuple[float, str]:
    created = network.metadata.creation_timestamp
    return (created.timestamp() if created else 0.0, network.metadata.name)
