"""A port that is made again under a container which has its addresses; pure."""

from coordinator.core.ipam.book import AddressBook
from coordinator.core.ipam.choice import PortRequest, Segments
from coordinator.core.ipam.plan import Address, AddressPlan
from coordinator.core.ipam.pods import Given, check_held, mac_for, parsed, plans_for, with_gateway
from proto.errors import DpuError
from proto.reasons import Reason


def give_again(book: AddressBook, request: PortRequest, segments: Segments) -> Given:
    """What somebody is known to have, whatever its subnet gives to new ones by now, unless it is another's.

    Args:
        request: with subnet, addresses and MAC; not to be believed of annotations, which anybody may write.

    Raises:
        DpuError: the subnet is not there; or somebody else has an address or the MAC.
    """
    subnet = segments.subnets.get(request.subnet)
    if subnet is None or subnet.spec.network_ref.name not in segments.networks:
        raise DpuError(
            Reason.NOT_FOUND,
            f"subnet {request.subnet} or its network does not exist",
            field=request.field_of("subnet"),
            remedy="create them as they were",
        )
    name, network = subnet.metadata.name, subnet.spec.network_ref.name
    placed = [(_plan_of(plans_for(book, request, subnet), one, request), one) for one in parsed(request)]
    for _, address in placed:
        check_held(book, request, name, address)
    return Given(
        network=network,
        subnet=name,
        mac=mac_for(book, request, network, name),
        addresses=tuple(address for _, address in placed),
        with_gateways=tuple(with_gateway(plan, address) for plan, address in placed),
        why=f"subnet {name}: its container has it",
    )


def _plan_of(plans: tuple[AddressPlan, ...], address: Address, request: PortRequest) -> AddressPlan:
    for plan in plans:
        if address in plan.prefix and address not in {plan.gateway, plan.probe}:
            return plan
    raise DpuError(
        Reason.INVALID,
        f"{address} is the gateway or kept for probes, or is not in subnet {request.subnet}",
        field=request.field_of("addresses"),
        remedy=f"correct Subnet {request.subnet}",
    )
