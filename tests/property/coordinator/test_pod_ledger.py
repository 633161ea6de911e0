"""Any history of pods, machines and restarts: the book is what its holders have, and nothing is given twice."""

from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coordinator.controllers.cache import Cache
from coordinator.controllers.context import Caches
from coordinator.core.ipam.allocate import settle
from coordinator.core.ipam.book import AddressBook, PodsOf, port_holder
from coordinator.core.ipam.choice import PortRequest, Segments
from coordinator.core.ipam.pods import give
from coordinator.core.ipam.space import Space
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.meta import Json
from coordinator.core.objects.network import Network
from proto.errors import DpuError
from proto.reasons import Reason

PODS = st.sampled_from([f"pod-{number}" for number in range(12)])
MACHINES = st.sampled_from(["bm-1", "bm-2", "bm-3"])
WIDE: Json = {"reserved": ["10.0.0.2-10.0.0.3"], "gateway": "10.0.0.1", "cidrV6": "fd00::/124", "gatewayV6": "fd00::1"}
NARROW: Json = {"gateway": "10.1.0.1", "pools": [{"name": "vip", "ranges": ["10.1.0.2-10.1.0.4"]}]}
SUBNETS: dict[str, tuple[str, Json]] = {"wide": ("10.0.0.0/28", WIDE), "narrow": ("10.1.0.0/29", NARROW)}


class Ledger(RuleBasedStateMachine):
    """The objects as the API has them, and a coordinator's caches, which a restart fills anew."""

    @initialize()
    def stock(self) -> None:
        self.version = 0
        self.stored: dict[tuple[Kind, str], Json] = {}
        self.caches = Caches()
        self.absorb(Kind.NETWORK, "lan", {"default": True})
        for name, (cidr, more) in SUBNETS.items():
            self.absorb(Kind.SUBNET, name, {"networkRef": {"name": "lan"}, "cidr": cidr} | more)

    @property
    def book(self) -> AddressBook:
        return self.caches.addresses.book

    def absorb(self, kind: Kind, name: str, spec: Json, status: Json | None = None) -> None:
        self.version += 1
        meta = {
            "name": name,
            "uid": f"{kind.value} {name} {spec.get('epoch', 0)}",
            "resourceVersion": str(self.version),
        }
        if kind.namespaced:
            meta["namespace"] = "default"
        self.stored[kind, name] = {"metadata": meta, "spec": spec, "status": status or {}}
        self.caches.by_kind[kind].absorb(self.stored[kind, name])

    def segments(self) -> Segments:
        networks: Cache[Network] = self.caches.networks
        return Segments(
            networks={one.metadata.name: one for one in networks.all()},
            subnets={one.metadata.name: one for one in self.caches.subnets.all()},
        )

    @rule(
        name=PODS,
        subnet=st.sampled_from(["", "wide", "narrow"]),
        pool=st.sampled_from(["", "vip"]),
        static=st.sampled_from(["", "10.0.0.5", "10.1.0.3", "10.1.0.5", "fd00::7"]),
        mac=st.sampled_from(["", "", "0a:58:00:00:00:01"]),
    )
    def add(self, name: str, subnet: str, pool: str, static: str, mac: str) -> None:
        if (Kind.PORT, name) in self.stored:
            return
        request = PortRequest(
            holder=port_holder(f"default/{name}"),
            uid=f"{name} {self.version}",
            nic="",
            namespace="default",
            subnet=subnet,
            pool=pool,
            addresses=(static,) if static else (),
            mac=mac,
        )
        before = list(self.book.holdings())
        try:
            given = give(self.book, request, self.segments())
        except DpuError as error:
            self._refused(error, full=subnet == "wide" and not static)
            assert list(self.book.holdings()) == before
            return
        spec = {
            "podRef": {"name": name, "uid": request.uid},
            "node": "node-1",
            "networkRef": {"name": given.network},
            "subnetRef": {"name": given.subnet},
            "mac": given.mac,
            "addresses": [one.json() for one in given.with_gateways],
            "epoch": self.version + 1,
        }
        self.absorb(Kind.PORT, name, spec)

    def _refused(self, error: DpuError, *, full: bool) -> None:
        """A refusal has a remedy, and a subnet that is said to be full is."""
        assert error.remedy
        if full and error.reason is Reason.EXHAUSTED:
            assert len(self.book.used("wide", 4)) == 10 or len(self.book.used("wide", 6)) == 13

    @rule(name=PODS)
    def remove(self, name: str) -> None:
        gone = self.stored.pop((Kind.PORT, name), None)
        if gone is not None:
            self.caches.ports.drop(gone)

    @rule(name=MACHINES, subnet=st.sampled_from(["wide", "narrow"]), static=st.sampled_from(["", "10.0.0.5"]))
    def machine(self, name: str, subnet: str, static: str) -> None:
        nic = {"name": "eth0", "subnetRef": {"name": subnet}} | ({"address": static} if static else {})
        meta = {"name": name, "namespace": "default", "uid": name}
        wanted = Machine.parse({"metadata": meta, "spec": {"image": "tiny", "nics": [nic]}})
        subnets = {one.metadata.name: one for one in self.caches.subnets.all()}
        try:
            ledgers = settle(wanted, subnets, [], PodsOf(self.book))
        except DpuError:
            return
        for changed, lines in ledgers.items():
            self._write(changed, [line.json() for line in lines])

    @rule(name=MACHINES)
    def release(self, name: str) -> None:
        for subnet in SUBNETS:
            lines = self.stored[Kind.SUBNET, subnet]["status"].get("allocations", [])
            self._write(subnet, [line for line in lines if line["machine"] != name])

    @rule()
    def restart(self) -> None:
        self.caches = Caches()
        for (kind, _), found in self.stored.items():
            self.caches.by_kind[kind].absorb(found)

    def _write(self, subnet: str, lines: list[Json]) -> None:
        self.absorb(Kind.SUBNET, subnet, self.stored[Kind.SUBNET, subnet]["spec"], {"allocations": lines})

    @invariant()
    def nothing_is_given_twice(self) -> None:
        if hasattr(self, "stored"):
            addresses, macs = list(self._addresses()), list(self._macs())
            assert len(addresses) == len(set(addresses))
            assert len(macs) == len(set(macs))

    @invariant()
    def the_book_is_what_its_holders_have(self) -> None:
        if hasattr(self, "stored"):
            booked = [f"{one.subnet} {address}" for one in self.book.holdings() for address in one.addresses]
            assert sorted(booked) == sorted(self._addresses())
            used = [
                f"{subnet} {number}"
                for subnet in SUBNETS
                for version in (4, 6)
                for number in self.book.used(subnet, version)
            ]
            assert len(used) == len(booked)

    def _addresses(self) -> Iterable[str]:
        for (kind, name), found in self.stored.items():
            if kind is Kind.PORT:
                subnet = found["spec"]["subnetRef"]["name"]
                yield from (f"{subnet} {one['cidr'].partition('/')[0]}" for one in found["spec"]["addresses"])
            elif kind is Kind.SUBNET:
                yield from (f"{name} {line['address']}" for line in found["status"].get("allocations", []))

    def _macs(self) -> Iterable[str]:
        for (kind, _), found in self.stored.items():
            if kind is Kind.PORT:
                yield found["spec"]["mac"]
            elif kind is Kind.SUBNET:
                yield from (line["mac"] for line in found["status"].get("allocations", []))


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class Counting(set[int]):
    """Addresses in use, and how often somebody asked."""

    asked = 0

    def __contains__(self, number: object) -> bool:
        self.asked += 1
        return super().__contains__(number)


def test_an_address_costs_the_same_however_many_are_given() -> None:
    space, used = Space([(1, 65_000)]), Counting()
    for _ in range(10_000):
        number = space.take(used)
        assert number is not None
        used.add(number)
    assert used.asked == 10_000
    for number in range(1, 10_001, 2):
        used.remove(number)
        space.give_back(number)
    for _ in range(55_000):
        number = space.take(used)
        assert number is not None
        used.add(number)
    assert used.asked <= 66_000
