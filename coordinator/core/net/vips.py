"""Which Service has a virtual address: of several that ask for one in the same way, the oldest; pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from proto.errors import DpuError
from proto.reasons import Reason

Age = tuple[int, str, str]
"""The rank of how it asks, when the Service was created, as the API writes it, and its key: the least has it."""


@dataclass(frozen=True, slots=True)
class Vip:
    """Where a Service is reached; the address is canonical."""

    address: str
    number: int
    protocol: str

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.number}/{self.protocol}"


class VipClaims:
    """What Services ask for."""

    def __init__(self) -> None:
        self._of: dict[str, dict[Vip, Age]] = {}
        self._claims: dict[Vip, dict[str, Age]] = {}
        self._at: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """How many Services ask for something."""
        return len(self._of)

    def claim(self, service: str, created: str, vips: Mapping[Vip, int]) -> set[str]:
        """A Service asks for these and no others from now on; keys of the others for which that is of weight.

        Args:
            vips: with the rank of how it asks for each: a lower one goes before a higher one, whatever the age.
        """
        before = self._of.pop(service, {})
        now = {vip: (rank, created, service) for vip, rank in vips.items()}
        for vip in before:
            del self._claims[vip][service]
            if not self._claims[vip]:
                del self._claims[vip]
            self._at.get(vip.address, set()).discard(service)
            if not self._at.get(vip.address):
                self._at.pop(vip.address, None)
        for vip, age in now.items():
            self._claims.setdefault(vip, {})[service] = age
            self._at.setdefault(vip.address, set()).add(service)
        if now:
            self._of[service] = now
        # One that was made anew between two looks is younger than it was: what it had may be another's now.
        touched = {vip for vip in {*before, *now} if before.get(vip) != now.get(vip)}
        return {other for vip in touched for other in self._claims.get(vip, ()) if other != service}

    def holder(self, vip: Vip) -> str:
        """The Service that has it; empty when none asks for it."""
        claims = self._claims.get(vip)
        return min(claims, key=lambda service: claims[service]) if claims else ""

    def at(self, address: str) -> set[str]:
        """Services that ask for an address, whatever the port."""
        return set(self._at.get(address, ()))


def doubled(vip: Vip, field: str, elder: str) -> DpuError:
    """The refusal of what another Service has."""
    return DpuError(
        Reason.ALREADY_EXISTS,
        f"{vip} is not served: Service {elder} has it",
        field=field,
        remedy=f"take another address or port, or delete Service {elder}",
    )


def among_pods(vip: Vip, field: str, subnet: str, where: str = "") -> DpuError:
    """The refusal of an address that pods get.

    Args:
        where: the network that it is not served in; empty for nowhere.
    """
    return DpuError(
        Reason.ALREADY_EXISTS,
        f"{vip.address} is not served{_inside(where)}: it is in subnet {subnet}, whose pods and servers would lose "
        "their traffic to it",
        field=field,
        remedy="use an address outside of the subnets of OVN's networks (of cluster IPs: the API server's "
        "--service-cluster-ip-range)",
    )


def held(vip: Vip, field: str, words: str, where: str = "") -> DpuError:
    """The refusal of an address that somebody has.

    Args:
        words: who, such as ``pod shop/web``.
        where: as for `among_pods`.
    """
    return DpuError(
        Reason.ALREADY_EXISTS,
        f"{vip.address} is not served{_inside(where)}: it belongs to {words}, which would lose its traffic to it",
        field=field,
        remedy="use another address, or delete who has it",
    )


def _inside(network: str) -> str:
    return f" in network {network}" if network else ""
