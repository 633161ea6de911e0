"""Who holds which address and MAC: the ledgers of machines and the ports of pods as one book.

The objects are the truth; this is their index, filled from them and ahead of them: what is being written is held from
the decision on, so that nothing is given twice while the API answers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import TypeVar

from coordinator.core.ipam.plan import GENERAL, Address, AddressPlan, plans_of
from coordinator.core.ipam.space import Space
from coordinator.core.objects.net import Port
from coordinator.core.objects.network import Allocation, Subnet, SubnetSpec
from proto.errors import DpuError

K = TypeVar("K", int, str)

Family = tuple[str, int]
"""A subnet's name and the version of IP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What somebody has.

    Attributes:
        holder: who, the same every time.
        words: who, for messages.
        epoch: of the port; the greatest of a subnet was given last.
    """

    holder: str
    words: str
    network: str
    mac: str
    subnet: str
    addresses: tuple[Address, ...]
    epoch: int = 0


@dataclass(slots=True)
class _Known:
    """A subnet: its spec, and its plans or why there are none."""

    spec: SubnetSpec
    plans: tuple[AddressPlan, ...] = ()
    problem: DpuError | None = None


class AddressBook:
    """Holdings by holder, address and MAC, and the next free address of each subnet and pool."""

    def __init__(self) -> None:
        self._subnets: dict[str, _Known] = {}
        self._holdings: dict[str, Holding] = {}
        self._by_address: dict[Family, dict[int, list[str]]] = {}
        self._by_mac: dict[str, dict[str, list[str]]] = {}
        self._spaces: dict[tuple[Family, str], Space] = {}

    def put_subnet(self, subnet: Subnet) -> None:
        """A subnet is there, or its spec changed."""
        name, known = subnet.metadata.name, self._subnets.get(subnet.metadata.name)
        if known is not None and known.spec == subnet.spec:
            return
        self._forget_spaces(name)
        known = _Known(subnet.spec)
        try:
            known.plans = plans_of(subnet.spec)
        except DpuError as error:
            known.problem = error
        self._subnets[name] = known

    def drop_subnet(self, name: str) -> None:
        """A subnet is gone; what is held in it stays held."""
        self._subnets.pop(name, None)
        self._forget_spaces(name)

    def plans(self, subnet: str) -> tuple[AddressPlan, ...]:
        """The plans of a subnet that is there.

        Raises:
            DpuError: its spec is wrong.
        """
        known = self._subnets[subnet]
        if known.problem is not None:
            raise known.problem
        return known.plans

    def hold(self, holding: Holding) -> None:
        """Somebody has something from now on, and nothing else."""
        before = self._holdings.get(holding.holder)
        if before == holding:
            return
        if before is not None:
            kept = set(holding.addresses) if before.subnet == holding.subnet else set()
            self._release(before, kept)
        self._holdings[holding.holder] = holding
        for address in holding.addresses:
            holders = self._by_address.setdefault((holding.subnet, address.version), {})
            holders.setdefault(int(address), []).append(holding.holder)
        self._by_mac.setdefault(holding.network, {}).setdefault(holding.mac, []).append(holding.holder)

    def drop(self, holder: str) -> None:
        """Somebody has nothing any more."""
        before = self._holdings.pop(holder, None)
        if before is not None:
            self._release(before, set())

    def holding(self, holder: str) -> Holding | None:
        """What somebody has."""
        return self._holdings.get(holder)

    def of_address(self, subnet: str, address: Address, but: str = "") -> Holding | None:
        """Who holds an address, `but` left aside."""
        holders = self._by_address.get((subnet, address.version), {}).get(int(address), ())
        return next((self._holdings[holder] for holder in holders if holder != but), None)

    def of_mac(self, network: str, mac: str, but: str = "") -> Holding | None:
        """Who holds a MAC in a network, `but` left aside."""
        holders = self._by_mac.get(network, {}).get(mac, ())
        return next((self._holdings[holder] for holder in holders if holder != but), None)

    def macs(self, network: str) -> Mapping[str, list[str]]:
        """MACs that are held in a network."""
        return self._by_mac.get(network, {})

    def used(self, subnet: str, version: int) -> Mapping[int, list[str]]:
        """Addresses of a family that are held in a subnet, with their holders."""
        return self._by_address.get((subnet, version), {})

    def take(self, subnet: str, plan: AddressPlan, pool: str = GENERAL) -> Address | None:
        """The next free address of a pool, or None; it must be held, or given back, before the next is taken."""
        family = (subnet, plan.prefix.version)
        space = self._spaces.get((family, pool))
        if space is None:
            space = self._spaces[family, pool] = Space(plan.ranges(pool), self._last_given(family, plan.ranges(pool)))
        number = space.take(self._by_address.get(family, {}))
        return None if number is None else plan.address(number)

    def give_back(self, subnet: str, address: Address) -> None:
        """An address that was taken is not used after all."""
        for (family, _), space in self._spaces.items():
            if family == (subnet, address.version):
                space.give_back(int(address))

    def holdings(self) -> Iterable[Holding]:
        """All there are."""
        return self._holdings.values()

    def _last_given(self, family: Family, ranges: list[tuple[int, int]]) -> int | None:
        """The address of a range that was given last, as far as that is known."""
        found = [
            (self._holdings[holder].epoch, number)
            for number, holders in self._by_address.get(family, {}).items()
            if any(low <= number <= high for low, high in ranges)
            for holder in holders
            if self._holdings[holder].epoch
        ]
        return max(found)[1] if found else None

    def _release(self, before: Holding, kept: set[Address]) -> None:
        """Take a holding out of the indexes; addresses that its holder keeps do not count as come back."""
        for address in before.addresses:
            family, number = (before.subnet, address.version), int(address)
            _take_out(self._by_address.get(family, {}), number, before.holder)
            if address not in kept and number not in self._by_address.get(family, {}):
                self.give_back(before.subnet, address)
        _take_out(self._by_mac.get(before.network, {}), before.mac, before.holder)

    def _forget_spaces(self, subnet: str) -> None:
        for key in [key for key in self._spaces if key[0][0] == subnet]:
            del self._spaces[key]


class PodsOf:
    """The book as the machines' side asks it: what do pods hold?"""

    def __init__(self, book: AddressBook) -> None:
        self._book = book

    def address(self, subnet: str, address: Address) -> str:
        """The pod that holds an address, in words; empty for none."""
        return self._words(self._book.used(subnet, address.version).get(int(address), ()))

    def mac(self, network: str, mac: str) -> str:
        """The pod that holds a MAC, in words; empty for none."""
        return self._words(self._book.macs(network).get(mac, ()))

    def _words(self, holders: Iterable[str]) -> str:
        ports = (self._book.holding(holder) for holder in holders if holder.startswith(port_holder("")))
        return next((holding.words for holding in ports if holding is not None), "")


def _take_out(index: dict[K, list[str]], key: K, holder: str) -> None:
    holders = index.get(key, [])
    if holder in holders:
        holders.remove(holder)
    if not holders:
        index.pop(key, None)


def port_holder(key: str) -> str:
    """Holder of a pod's port, by ``NAMESPACE/NAME`` of the Port."""
    return f"port {key}"


def line_holder(subnet: str, line: Allocation) -> str:
    """Holder of a line in a subnet's ledger; while a NIC changes its address, it has two."""
    return f"machine {line.uid}/{line.nic} in {subnet} at {line.address}"


def port_holding(port: Port) -> Holding:
    """What a port has."""
    spec = port.spec
    return Holding(
        holder=port_holder(port.metadata.key),
        words=f"pod {port.metadata.namespace}/{spec.pod_ref.name}",
        network=spec.network_ref.name,
        mac=spec.mac,
        subnet=spec.subnet_ref.name,
        addresses=tuple(ip_interface(one.cidr).ip for one in spec.addresses),
        epoch=spec.epoch,
    )


def line_holding(subnet: Subnet, line: Allocation) -> Holding:
    """What a line of a subnet's ledger gives to a machine."""
    return Holding(
        holder=line_holder(subnet.metadata.name, line),
        words=f"machine {line.namespace}/{line.machine} nic {line.nic}",
        network=subnet.spec.network_ref.name,
        mac=line.mac,
        subnet=subnet.metadata.name,
        addresses=(ip_address(line.address),),
    )
