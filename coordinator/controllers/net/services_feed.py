"""Services: which want another look when objects change, and their rows."""

from collections.abc import Callable, Iterable
from ipaddress import ip_interface

from coordinator.clients.protocols import Change
from coordinator.controllers.net.complaints import Complaints
from coordinator.controllers.net.context import NetContext
from coordinator.controllers.net.grounds import Grounds
from coordinator.controllers.net.segments import Segments
from coordinator.controllers.pool.mirror import key_of
from coordinator.core.ipam.book import Holding
from coordinator.core.net.rows import Row
from coordinator.core.net.segment import chassis
from coordinator.core.net.services import Refusal, Refused, service_of, service_rows, stays_local, vips_of
from coordinator.core.net.vips import Vip, VipClaims, doubled
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json
from coordinator.core.objects.net import Port
from coordinator.core.objects.network import Subnet
from coordinator.core.pool.fields import seen_text


class ServicesFeed:
    """Listens to Services and EndpointSlices; what becomes of addresses it is told of.

    Args:
        told: called with keys of Services whose rows may be others than before.

    Attributes:
        has_templates: whether OVN has variables for each chassis.
    """

    def __init__(
        self,
        context: NetContext,
        segments: Segments,
        complaints: Complaints,
        told: Callable[[Iterable[str]], None],
    ) -> None:
        self._caches, self._mirrors = context.caches, context.mirrors
        self._segments, self._complaints, self._told = segments, complaints, told
        self._slices: dict[str, set[str]] = {}
        self._service_of: dict[str, str] = {}
        self._local: set[str] = set()
        self.has_templates = True
        self._claims = VipClaims()
        self._caches.addresses.listen(self._on_given_back)
        self._mirrors.listen(Foreign.SERVICE, self._on_service)
        self._mirrors.listen(Foreign.ENDPOINT_SLICE, self._on_slice)

    def all(self) -> set[str]:
        """Every Service there is."""
        return {key_of(one) for one in self._mirrors.all(Foreign.SERVICE)}

    def rows(self, key: str) -> list[Row]:
        """Rows of a Service."""
        service = self._mirrors.get(Foreign.SERVICE, key)
        if service is None:
            return []
        slices = (self._mirrors.get(Foreign.ENDPOINT_SLICE, one) for one in sorted(self._slices.get(key, ())))
        there = [one for one in slices if one is not None]
        chassis_of = self._chassis_of if self.has_templates else None
        found = service_rows(
            service, there, self._segments.names(), self._refusal(key), self._segments.network_of, chassis_of
        )
        self._complaints.service(service, found.faults, found.refused)
        return found.rows

    def local(self) -> set[str]:
        """Services whose traffic stays on its node: they ask for the chassis of nodes, and for templates."""
        return set(self._local)

    def of_port(self, before: Port | None, after: Port | None) -> set[str]:
        """A port came or went: Services that ask for an address of it."""
        found = after or before
        if not self._claims or found is None or (before is not None and after is not None):
            return set()
        return self._at(str(ip_interface(one.cidr).ip) for one in found.spec.addresses)

    def of_ledger(self, before: Subnet | None, after: Subnet | None) -> set[str]:
        """Lines of machines changed: Services that ask for an address which came or went."""
        if not self._claims:
            return set()
        lines = [{line.address for line in one.status.allocations} if one else set() for one in (before, after)]
        return self._at(lines[0] ^ lines[1])

    def _at(self, addresses: Iterable[str]) -> set[str]:
        return {service for address in addresses for service in self._claims.at(address)}

    def _chassis_of(self, node: str) -> str:
        found = self._caches.node_of(node)
        return chassis(found) if found is not None else ""

    def _refusal(self, key: str) -> Refusal:
        grounds = Grounds(self._caches, self._segments)

        def refusal(vip: Vip, field: str) -> Refused | None:
            elder = self._claims.holder(vip)
            if elder not in {"", key}:
                return Refused((doubled(vip, field, elder),))
            return grounds.refused(vip, field)

        return refusal

    def _on_given_back(self, holding: Holding) -> None:
        services = self._at(map(str, holding.addresses))
        if services:
            self._told(services)

    def _on_service(self, key: str, service: Json, change: Change) -> None:
        asked = {} if change is Change.DELETED else vips_of(service)
        is_local = change is not Change.DELETED and stays_local(service)
        (self._local.add if is_local else self._local.discard)(key)
        others = self._claims.claim(key, seen_text(service, "metadata", "creationTimestamp"), asked)
        self._told({key} | others)

    def _on_slice(self, key: str, found: Json, change: Change) -> None:
        before = self._service_of.pop(key, "")
        now = "" if change is Change.DELETED else service_of(found)
        if before:
            self._slices[before].discard(key)
            if not self._slices[before]:
                del self._slices[before]
        if now:
            self._service_of[key] = now
            self._slices.setdefault(now, set()).add(key)
        self._told({before, now} - {""})
