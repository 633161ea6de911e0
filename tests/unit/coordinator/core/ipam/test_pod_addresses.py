"""Which subnet, addresses and MAC a pod's port gets; who is refused, and why."""

from typing import Any

import pytest

from coordinator.core.ipam.book import AddressBook, Holding, PodsOf, line_holding, port_holder
from coordinator.core.ipam.choice import PortRequest, Segments, namespaces_of, wants_own_network
from coordinator.core.ipam.mac import gateway_mac
from coordinator.core.ipam.plan import plans_of
from coordinator.core.ipam.pods import Given, give
from coordinator.core.objects.network import Network, Subnet
from proto.errors import DpuError
from proto.reasons import Reason


def network(name: str, created: int = 1, gone: str = "", **spec: Any) -> Network:
    meta = {"name": name, "creationTimestamp": f"2026-01-0{created}T00:00:00Z"}
    meta |= {"deletionTimestamp": gone} if gone else {}
    return Network.parse({"metadata": meta, "spec": spec})


def subnet(name: str, cidr: str, of: str = "pods", created: int = 1, **spec: Any) -> Subnet:
    meta = {"name": name, "creationTimestamp": f"2026-01-0{created}T00:00:00Z"}
    return Subnet.parse({"metadata": meta, "spec": {"networkRef": {"name": of}, "cidr": cidr} | spec})


class Stage:
    """Networks, subnets and a book."""

    def __init__(self, *subnets: Subnet, networks: tuple[Network, ...] = ()) -> None:
        made = networks or (network("pods", default=True), network("side"))
        self.segments = Segments(
            networks={one.metadata.name: one for one in made}, subnets={one.metadata.name: one for one in subnets}
        )
        self.book = AddressBook()
        for one in subnets:
            self.book.put_subnet(one)
        self.count = 0

    def give(self, pod: str = "", namespace: str = "default", **asked: Any) -> Given:
        """Give a port, and hold it."""
        self.count += 1
        name = pod or f"pod-{self.count}"
        request = self.request(name, namespace, **asked)
        given = give(self.book, request, self.segments)
        self.book.hold(
            Holding(
                holder=request.holder,
                words=f"pod {namespace}/{name}",
                network=given.network,
                mac=given.mac,
                subnet=given.subnet,
                addresses=given.addresses,
                epoch=self.count,
            )
        )
        return given

    def request(self, pod: str, namespace: str = "default", **asked: Any) -> PortRequest:
        return PortRequest(holder=port_holder(pod), uid=pod, nic="", namespace=namespace, **asked)

    def refusal(self, **asked: Any) -> DpuError:
        with pytest.raises(DpuError) as caught:
            self.give(**asked)
        return caught.value

    def drop(self, pod: str) -> None:
        self.book.drop(port_holder(pod))


def test_the_default_networks_open_subnet_is_for_who_asks_for_nothing() -> None:
    stage = Stage(subnet("side-a", "10.9.0.0/24", "side"), subnet("a", "10.1.0.0/24", gateway="10.1.0.1"))
    given = stage.give()
    assert (given.network, given.subnet, str(given.addresses[0])) == ("pods", "a", "10.1.0.2")
    assert given.with_gateways[0].json() == {"cidr": "10.1.0.2/24", "gateway": "10.1.0.1"}
    assert given.why == "subnet a: it is open and of the default network pods"


def test_a_subnet_that_claims_the_namespace_goes_before_open_ones_and_a_list_before_a_selector() -> None:
    stage = Stage(
        subnet("open", "10.1.0.0/24"),
        subnet("by-label", "10.2.0.0/24", namespaceSelector={"matchLabels": {"team": "a"}}),
        subnet("by-list", "10.3.0.0/24", created=3, namespaces=["team-a"]),
    )
    assert stage.give(namespace="team-a", labels={"team": "a"}).subnet == "by-list"
    assert stage.give(namespace="team-b", labels={"team": "a"}).subnet == "by-label"
    assert stage.give(namespace="team-c").subnet == "open"


def test_a_claim_of_the_default_network_goes_before_one_of_another() -> None:
    other = subnet("other", "10.3.0.0/24", "side", namespaces=["team-a", "team-b"])
    stage = Stage(other, subnet("own", "10.2.0.0/24", created=2, namespaces=["team-a"]), subnet("open", "10.1.0.0/24"))
    assert stage.give(namespace="team-a").subnet == "own"
    assert stage.give(namespace="team-b").network == "side"


def test_of_several_the_oldest_with_room_is_used() -> None:
    stage = Stage(subnet("new", "10.2.0.0/24", created=2), subnet("old", "10.1.0.0/30"))
    assert [stage.give().subnet for _ in range(3)] == ["old", "new", "new"]


def test_a_named_subnet_of_another_namespace_is_refused() -> None:
    stage = Stage(subnet("theirs", "10.1.0.0/24", namespaces=["team-a"]))
    error = stage.refusal(subnet="theirs", where={"subnet": "metadata.annotations[dpupool.io/subnet]"})
    assert error.reason is Reason.FORBIDDEN
    assert error.field == "metadata.annotations[dpupool.io/subnet]"
    assert stage.give(namespace="team-a", subnet="theirs").subnet == "theirs"


@pytest.mark.parametrize(
    ("asked", "reason", "words"),
    [
        ({"subnet": "none"}, Reason.NOT_FOUND, "subnet none does not exist"),
        ({"network": "none"}, Reason.NOT_FOUND, "network none does not exist"),
        ({"network": "side"}, Reason.NOT_FOUND, "network side has no subnet"),
        ({"network": "side", "subnet": "a"}, Reason.INVALID, "subnet a is of network pods, not of side"),
        ({"pool": "none"}, Reason.NOT_FOUND, "subnet a has no pool none"),
        ({"addresses": ("10.1.0",)}, Reason.INVALID, "is not an address"),
        ({"addresses": ("10.2.0.1",)}, Reason.INVALID, "10.2.0.1 is not in 10.1.0.0/24 of subnet a"),
        ({"addresses": ("10.1.0.1",)}, Reason.INVALID, "is the gateway"),
        ({"addresses": ("10.1.0.254",)}, Reason.INVALID, "is kept for liveness probes"),
        ({"addresses": ("10.1.0.255",)}, Reason.INVALID, "is not a usable address"),
        ({"addresses": ("10.1.0.9",)}, Reason.INVALID, "is reserved"),
        ({"addresses": ("10.1.0.100",)}, Reason.INVALID, "is kept for pool vip"),
        ({"addresses": ("10.1.0.2", "10.1.0.3")}, Reason.INVALID, "are both of IPv4"),
        ({"mac": "01:00:00:00:00:01"}, Reason.INVALID, "is no MAC address of a NIC"),
        ({"mac": "0a:58:00:00:00"}, Reason.INVALID, "is no MAC address of a NIC"),
        ({"mac": gateway_mac("a").upper()}, Reason.INVALID, "is the gateway's of subnet a"),
        ({"addresses": ("fd00::5%eth0",)}, Reason.INVALID, "'fd00::5%eth0' is not an address"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name_and_with_a_remedy(
    asked: dict[str, Any], reason: Reason, words: str
) -> None:
    pools = [{"name": "vip", "ranges": ["10.1.0.100-10.1.0.110"]}]
    stage = Stage(subnet("a", "10.1.0.0/24", gateway="10.1.0.1", reserved=["10.1.0.9"], pools=pools))
    error = stage.refusal(**asked)
    assert error.reason is reason
    assert words in error.message
    assert error.remedy


def test_who_has_an_address_or_a_mac_is_named() -> None:
    stage = Stage(subnet("a", "10.1.0.0/24"))
    stage.give("web", addresses=("10.1.0.5",), mac="0a:58:00:00:00:05")
    assert stage.refusal(addresses=("10.1.0.5",)).message.endswith("belongs to pod default/web")
    assert stage.refusal(mac="0A:58:00:00:00:05").reason is Reason.ALREADY_EXISTS
    stage.drop("web")
    assert str(stage.give(addresses=("10.1.0.5",), mac="0a:58:00:00:00:05").addresses[0]) == "10.1.0.5"


def test_a_mac_is_unique_in_its_network_and_may_come_again_in_another() -> None:
    stage = Stage(subnet("a", "10.1.0.0/24"), subnet("b", "10.1.0.0/24", "side"))
    stage.give(mac="0a:58:00:00:00:05")
    assert stage.give(subnet="b", mac="0a:58:00:00:00:05").network == "side"
    assert stage.refusal(subnet="a", mac="0a:58:00:00:00:05").reason is Reason.ALREADY_EXISTS


def test_dual_stack_gives_one_of_each_family_or_nothing() -> None:
    stage = Stage(
        subnet("a", "10.1.0.0/24", cidrV6="fd00:1::/125", gatewayV6="fd00:1::1", reserved=["fd00:1::2", "10.1.0.1"])
    )
    given = [stage.give(f"p{index}") for index in range(4)]
    assert [str(one) for one in given[0].addresses] == ["10.1.0.2", "fd00:1::3"]
    assert given[0].with_gateways[1].gateway == "fd00:1::1"
    error = stage.refusal()
    assert error.reason is Reason.EXHAUSTED
    assert "IPv6" in error.message
    stage.drop("p0")
    assert [str(one) for one in stage.give().addresses] == ["10.1.0.7", "fd00:1::3"]


def test_a_subnet_of_ipv6_alone_gives_one() -> None:
    stage = Stage(subnet("a", "fd00:1::/64", gateway="fd00:1::1"))
    assert stage.give().with_gateways[0].json() == {"cidr": "fd00:1::2/64", "gateway": "fd00:1::1"}


def test_a_pool_is_for_who_asks_or_lives_in_its_namespaces_and_for_nobody_else() -> None:
    pools = [
        {"name": "vip", "ranges": ["10.1.0.2-10.1.0.3"]},
        {"name": "team", "ranges": ["10.1.0.4-10.1.0.5"], "namespaces": ["team-a"]},
    ]
    stage = Stage(subnet("a", "10.1.0.0/24", gateway="10.1.0.1", pools=pools))
    assert str(stage.give().addresses[0]) == "10.1.0.6"
    assert str(stage.give(pool="vip").addresses[0]) == "10.1.0.2"
    assert str(stage.give(namespace="team-a").addresses[0]) == "10.1.0.4"
    assert stage.refusal(pool="team").reason is Reason.FORBIDDEN
    assert str(stage.give(namespace="team-a", addresses=("10.1.0.5",)).addresses[0]) == "10.1.0.5"
    error = stage.refusal(namespace="team-a")
    assert error.reason is Reason.EXHAUSTED
    assert "pool team of subnet a" in error.message


def test_an_address_of_two_pools_is_for_who_may_have_either() -> None:
    ranges = {"x": "10.1.0.10-10.1.0.20", "y": "10.1.0.15-10.1.0.30"}
    pools = [{"name": name, "ranges": [found], "namespaces": [f"team-{name}"]} for name, found in ranges.items()]
    stage = Stage(subnet("a", "10.1.0.0/24", pools=pools))
    assert str(stage.give(namespace="team-y", addresses=("10.1.0.16",)).addresses[0]) == "10.1.0.16"
    assert "is kept for pool x" in stage.refusal(namespace="team-z", addresses=("10.1.0.17",)).message


def test_an_address_that_came_back_is_the_last_to_be_given_again() -> None:
    stage = Stage(subnet("a", "10.1.0.0/29", gateway="10.1.0.1"))
    assert [str(stage.give(f"p{n}").addresses[0]) for n in range(4)] == [f"10.1.0.{n}" for n in (2, 3, 4, 5)]
    for pod in ("p2", "p0"):
        stage.drop(pod)
    assert [str(stage.give().addresses[0]) for _ in range(2)] == ["10.1.0.4", "10.1.0.2"]
    error = stage.refusal()
    assert error.reason is Reason.EXHAUSTED
    assert "subnet a" in error.message


def test_after_a_start_the_round_goes_on_behind_the_address_given_last() -> None:
    stage = Stage(subnet("a", "10.1.0.0/24"))
    for number in (7, 30, 20):
        stage.give(addresses=(f"10.1.0.{number}",))
    assert str(stage.give().addresses[0]) == "10.1.0.21"


def test_a_full_subnet_says_so_at_once_and_so_do_several() -> None:
    stage = Stage(subnet("a", "10.1.0.0/30"), subnet("b", "10.2.0.0/30", created=2))
    assert [stage.give().subnet for _ in range(2)] == ["a", "b"]
    error = stage.refusal()
    assert error.reason is Reason.EXHAUSTED
    assert "(a, b are full)" in error.message


def test_a_wrong_subnet_is_passed_over_for_another_and_told_when_it_is_the_only_one() -> None:
    wrong = subnet("a", "10.1.0.0/24", gateway="10.9.0.1")
    assert Stage(wrong, subnet("b", "10.2.0.0/24", created=2)).give().subnet == "b"
    error = Stage(wrong).refusal()
    assert error.reason is Reason.WRONG_STATE
    assert error.remedy == "correct Subnet a"


@pytest.mark.parametrize("leaving", [(), (network("side", gone="2026-01-02T00:00:00Z"),)], ids=["absent", "leaving"])
@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize(
    "asked", [{"network": "side"}, {"subnet": "theirs"}, {"namespace": "team-a"}], ids=["network", "subnet", "claim"]
)
def test_a_network_that_is_not_there_or_leaves_gives_no_addresses(
    leaving: tuple[Network, ...], default: bool, asked: dict[str, Any]
) -> None:
    theirs = subnet(
        "theirs", "10.2.0.0/24", "side", namespaces=["team-a", "default"] if "subnet" in asked else ["team-a"]
    )
    stage = Stage(subnet("open", "10.1.0.0/24"), theirs, networks=(network("pods", default=default), *leaving))
    error = stage.refusal(**asked)
    assert error.reason is Reason.NOT_FOUND
    assert "side" in error.message
    assert "does not exist, or is being deleted" in error.message


def test_a_claim_of_a_network_that_leaves_gives_way_to_one_that_stays() -> None:
    claims = [
        subnet(name, f"10.{at}.0.0/24", name, created=at, namespaces=["team-a"]) for at, name in enumerate("ab", 1)
    ]
    stage = Stage(*claims, networks=(network("a", gone="2026-01-02T00:00:00Z"), network("b")))
    assert stage.give(namespace="team-a").subnet == "b"


def test_a_selector_that_cannot_be_read_claims_nobody_and_keeps_nothing_from_others() -> None:
    wrong = {"matchExpressions": [{"key": "team", "operator": "In"}]}
    theirs = subnet("theirs", "10.2.0.0/24", namespaceSelector=wrong, namespaces=["team-a"])
    stage = Stage(subnet("open", "10.1.0.0/24", created=2), theirs)
    assert stage.give().subnet == "open"
    assert stage.give(namespace="team-a").subnet == "theirs"
    assert stage.refusal(subnet="theirs").reason is Reason.FORBIDDEN
    with pytest.raises(DpuError) as caught:
        namespaces_of(theirs)
    assert caught.value.field == "spec.namespaceSelector.matchExpressions[0].values"


def test_without_a_default_network_pods_are_ours_only_where_they_ask_or_are_claimed() -> None:
    stage = Stage(subnet("a", "10.1.0.0/24", "side", namespaces=["team-a"]), networks=(network("side"),))
    assert not wants_own_network(stage.request("p"), stage.segments)
    assert wants_own_network(stage.request("p", subnet="a"), stage.segments)
    assert wants_own_network(stage.request("p", "team-a"), stage.segments)
    assert stage.give(namespace="team-a").subnet == "a"
    assert stage.refusal().reason is Reason.NOT_FOUND


def test_of_two_default_networks_the_elder_counts() -> None:
    stage = Stage(
        subnet("a", "10.1.0.0/24", "young"),
        subnet("b", "10.2.0.0/24", "old"),
        networks=(network("young", 2, default=True), network("old", 1, default=True)),
    )
    assert stage.give().network == "old"


def test_addresses_of_machines_are_passed_over_and_those_of_pods_are_shown_to_them() -> None:
    stage = Stage(subnet("a", "10.1.0.0/24", gateway="10.1.0.1"))
    ledger = {"address": "10.1.0.2", "mac": "0a:00:00:00:00:01", "uid": "u", "nic": "eth0", "machine": "bm"}
    meta = {"name": "a"}
    a = Subnet.parse({"metadata": meta, "spec": {"networkRef": {"name": "pods"}, "cidr": "10.1.0.0/24"},
                      "status": {"allocations": [ledger]}})  # fmt: skip
    stage.book.hold(line_holding(a, a.status.allocations[0]))
    given = stage.give("web")
    assert str(given.addresses[0]) == "10.1.0.3"
    assert "machine /bm nic eth0" in stage.refusal(addresses=("10.1.0.2",)).message
    pods = PodsOf(stage.book)
    assert pods.address("a", given.addresses[0]) == "pod default/web"
    assert pods.mac("pods", given.mac) == "pod default/web"
    assert not pods.mac("pods", "0a:00:00:00:00:01")


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"cidrV6": "10.2.0.0/24"}, "spec.cidrV6"),
        ({"cidrV6": "fd00::1/64"}, "spec.cidrV6"),
        ({"cidr": "fd00::/64", "cidrV6": "fd00:1::/64"}, "spec.cidr"),
        ({"cidrV6": "fd00::/64", "gatewayV6": "fd01::1"}, "spec.gatewayV6"),
        ({"pools": [{"name": "p", "ranges": ["10.9.0.1"]}]}, "spec.pools[0].ranges[0]"),
        ({"cidrV6": "fd00::/64", "reserved": ["x"]}, "spec.reserved[0]"),
    ],
)
def test_a_wrong_spec_of_two_families_names_its_field(fields: dict[str, Any], where: str) -> None:
    wrong = subnet("a", **({"cidr": "10.1.0.0/24"} | fields))
    with pytest.raises(DpuError) as caught:
        plans_of(wrong.spec)
    assert caught.value.field == where
