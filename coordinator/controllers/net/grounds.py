"""Addresses that are not for Services, for pods and servers get or have them; as of one moment."""

from ipaddress import ip_address

from coordinator.controllers.net.context import NetCaches
from coordinator.controllers.net.segments import Segments
from coordinator.core.ipam.plan import Address
from coordinator.core.net.services import CLUSTER_IPS, Refused
from coordinator.core.net.vips import Vip, among_pods, held


class Grounds:
    """Subnets are looked through once, whatever is asked after; not to be kept.

    The API server gives out cluster IPs from a range of its own: nobody can ask for another's address by one. A subnet
    that lies over that range takes them from its own network alone, and so takes who lives in it. Other addresses are
    written by whoever may write the Service, and are refused everywhere when they are somebody's: what is sent to them
    in one network may be on its way to another.
    """

    def __init__(self, caches: NetCaches, segments: Segments) -> None:
        self._book = caches.addresses.book
        self._subnets = sorted((one.metadata.name, one.spec.network_ref.name) for one in caches.subnets.all())
        found = [(name, segments.of(name)) for name in segments.names()]
        self._prefixes = [
            (name, one.network.metadata.name, prefix)
            for name, one in found
            if one is not None
            for prefix in one.prefixes
        ]
        self._ours = {network for _, network, _ in self._prefixes}

    def refused(self, vip: Vip, field: str) -> Refused | None:
        """Where, and why, an address is not for a Service that asks for it by a field; None when it is everywhere."""
        address = ip_address(vip.address)
        if field == CLUSTER_IPS:
            return self._in_networks(vip, address)
        among = next((name for name, _, prefix in self._prefixes if address in prefix), None)
        if among is not None:
            return Refused((among_pods(vip, field, among),))
        holdings = (self._book.of_address(name, address) for name, _ in self._subnets)
        return next((Refused((held(vip, field, one.words),)) for one in holdings if one is not None), None)

    def _in_networks(self, vip: Vip, address: Address) -> Refused | None:
        """Of a cluster IP: the networks of OVN's that have it for their own."""
        found = {
            network: among_pods(vip, CLUSTER_IPS, name, network)
            for name, network, prefix in reversed(self._prefixes)
            if address in prefix
        }
        for name, network in self._subnets:
            holding = self._book.of_address(name, address) if network in self._ours - found.keys() else None
            if holding is not None:
                found[network] = held(vip, CLUSTER_IPS, holding.words, network)
        return Refused(tuple(why for _, why in sorted(found.items())), frozenset(found)) if found else None
