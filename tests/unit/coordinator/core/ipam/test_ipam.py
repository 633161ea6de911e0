"""Addresses and MACs: parsed, given, refused, given back."""

from ipaddress import ip_address

import pytest

from coordinator.core.ipam.allocate import is_settled, lease_fits, leases_of, released, settle
from coordinator.core.ipam.mac import PREFIX, choose_mac, gateway_mac, is_unicast
from coordinator.core.ipam.plan import parse_subnet
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.meta import Json
from coordinator.core.objects.network import Subnet, SubnetSpec
from proto.errors import DpuError
from proto.reasons import Reason


def spec(**fields: object) -> SubnetSpec:
    return SubnetSpec.parse({"networkRef": {"name": "lan"}, "cidr": "10.0.0.0/24"} | fields)


def subnet(name: str = "a", lines: list[Json] | None = None, **fields: object) -> Subnet:
    wanted = spec(**fields).json()
    return Subnet.parse({"metadata": {"name": name}, "spec": wanted, "status": {"allocations": lines or []}})


def machine(*nics: Json, uid: str = "u1", name: str = "m1") -> Machine:
    named = [{"name": f"eth{index}", "subnetRef": {"name": "a"}} | nic for index, nic in enumerate(nics)]
    meta = {"name": name, "namespace": "default", "uid": uid}
    return Machine.parse({"metadata": meta, "spec": {"image": "tiny", "nics": named}})


def line(address: str, mac: str = "0a:00:00:00:00:01", uid: str = "other", nic: str = "eth0") -> Json:
    return {"address": address, "mac": mac, "uid": uid, "nic": nic, "namespace": "default", "machine": "m9"}


def refused(*nics: Json, subnets: dict[str, Subnet]) -> DpuError:
    with pytest.raises(DpuError) as caught:
        settle(machine(*nics), subnets, [])
    return caught.value


def test_network_and_broadcast_addresses_are_not_given() -> None:
    plan = parse_subnet(spec(cidr="10.0.0.0/29"))
    assert [str(a) for a in plan.free(frozenset())] == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]
    assert str(plan.probe) == "10.0.0.6"


def test_gateway_probe_and_reserved_ranges_are_given_to_nobody() -> None:
    plan = parse_subnet(
        spec(
            cidr="10.0.0.0/28", gateway="10.0.0.1", probeAddress="10.0.0.9", reserved=["10.0.0.2-10.0.0.5", "10.0.0.14"]
        )
    )
    given = [str(address) for address in plan.free(frozenset())]
    assert given == [f"10.0.0.{n}" for n in (6, 7, 8, 10, 11, 12, 13)]
    assert plan.total == len(given)


def test_the_probe_moves_down_when_the_gateway_is_the_last_address() -> None:
    assert str(parse_subnet(spec(cidr="10.0.0.0/24", gateway="10.0.0.254")).probe) == "10.0.0.253"


def test_overlapping_reservations_are_counted_once() -> None:
    plan = parse_subnet(spec(cidr="10.0.0.0/28", reserved=["10.0.0.2-10.0.0.8", "10.0.0.4-10.0.0.6", "10.0.0.8"]))
    assert plan.total == len(list(plan.free(frozenset()))) == 6


def test_ipv6_prefixes_are_given_from_the_first_address_on() -> None:
    plan = parse_subnet(spec(cidr="fd00::/64", gateway="fd00::1"))
    assert str(next(plan.free(frozenset()))) == "fd00::2"
    assert plan.total == 2**64 - 1 - 2


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"cidr": "10.0.0.1/24"}, "spec.cidr"),
        ({"cidr": "banana"}, "spec.cidr"),
        ({"gateway": "10.1.0.1"}, "spec.gateway"),
        ({"gateway": "x"}, "spec.gateway"),
        ({"gateway": "10.0.0.255"}, "spec.gateway"),
        ({"gateway": "10.0.0.0"}, "spec.gateway"),
        ({"probeAddress": "10.0.0.255"}, "spec.probeAddress"),
        ({"gateway": "10.0.0.1", "probeAddress": "10.0.0.1"}, "spec.probeAddress"),
        ({"cidr": "fd00::/64", "gateway": "fd00::1%eth0"}, "spec.gateway"),
        ({"cidr": "fd00::%eth0/64"}, "spec.cidr"),
        ({"probeAddress": "10.9.0.1"}, "spec.probeAddress"),
        ({"reserved": ["10.0.0.9-10.0.0.2"]}, "spec.reserved[0]"),
        ({"reserved": ["10.0.0.2", "y"]}, "spec.reserved[1]"),
        ({"dns": ["z"]}, "spec.dns[0]"),
    ],
)
def test_a_wrong_subnet_names_the_field(fields: Json, field: str) -> None:
    with pytest.raises(DpuError) as caught:
        parse_subnet(spec(**fields))
    assert caught.value.field == field
    assert caught.value.remedy


def test_the_first_free_address_is_given_and_the_mac_is_ours() -> None:
    ledgers = settle(machine({}), {"a": subnet(lines=[line("10.0.0.1")])}, [])
    made = ledgers["a"][-1]
    assert made.address == "10.0.0.2"
    assert made.mac.startswith(PREFIX)
    assert (made.uid, made.nic, made.machine) == ("u1", "eth0", "m1")


def test_two_nics_of_a_subnet_get_two_addresses_at_once() -> None:
    ledgers = settle(machine({}, {}), {"a": subnet()}, [])
    assert [entry.address for entry in ledgers["a"]] == ["10.0.0.1", "10.0.0.2"]
    assert len({entry.mac for entry in ledgers["a"]}) == 2


def test_a_machine_that_has_what_it_asks_for_changes_nothing() -> None:
    first = settle(machine({}), {"a": subnet()}, [])["a"]
    again = subnet(lines=[entry.json() for entry in first])
    assert settle(machine({}), {"a": again}, []) == {}


def test_a_nic_that_left_the_spec_gives_its_address_back() -> None:
    two = settle(machine({}, {}), {"a": subnet()}, [])["a"]
    again = subnet(lines=[entry.json() for entry in two])
    assert [entry.nic for entry in settle(machine({}), {"a": again}, [])["a"]] == ["eth0"]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_line_that_a_nic_left_behind_is_given_back_and_what_fits_stays(names: tuple[str, str]) -> None:
    lines = {"a": line("10.0.0.3", uid="u1"), "b": line("10.0.0.7", uid="u1")}
    subnets = {name: subnet(name, lines=[line("10.0.0.1"), lines[name]]) for name in names}
    moved = machine({"subnetRef": {"name": "b"}})
    assert not is_settled(moved, subnets.values())
    ledgers = settle(moved, subnets, [])
    assert {name: [one.address for one in held] for name, held in ledgers.items()} == {"a": ["10.0.0.1"]}
    after = {"a": subnet("a", lines=[line("10.0.0.1")]), "b": subnets["b"]}
    assert is_settled(moved, after.values())


@pytest.mark.parametrize("second", ["10.0.0.1", "10.0.0.2"])
def test_of_two_lines_of_a_nic_in_one_subnet_one_stays(second: str) -> None:
    doubled = subnet(lines=[line("10.0.0.1", uid="u1"), line(second, uid="u1")])
    assert not is_settled(machine({}), [doubled])
    assert [one.address for one in settle(machine({}), {"a": doubled}, [])["a"]] == ["10.0.0.1"]
    assert [one.address for one in settle(machine({"address": second}), {"a": doubled}, [])["a"]] == [second]


def test_a_nic_that_wants_another_address_gets_it_and_keeps_its_mac() -> None:
    first = settle(machine({}), {"a": subnet()}, [])["a"]
    again = subnet(lines=[entry.json() for entry in first])
    moved = settle(machine({"address": "10.0.0.77"}), {"a": again}, [])["a"]
    assert [entry.address for entry in moved] == ["10.0.0.77"]
    assert moved[0].mac == first[0].mac


def test_an_address_that_somebody_has_is_refused_with_the_owner() -> None:
    error = refused({"address": "10.0.0.5"}, subnets={"a": subnet(lines=[line("10.0.0.5")])})
    assert (error.reason, error.field) == (Reason.ALREADY_EXISTS, "spec.nics[0].address")
    assert "default/m9 nic eth0" in error.message


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.0.0.0", "not a usable address"),
        ("10.9.0.1", "not a usable address"),
        ("10.0.0.1", "is the gateway"),
        ("10.0.0.254", "liveness probes"),
        ("10.0.0.7", "is reserved"),
        ("what", "is not an address"),
        ("fd00::5%eth0", "is not an address"),
    ],
)
def test_an_address_that_cannot_be_given_is_refused(address: str, why: str) -> None:
    error = refused({"address": address}, subnets={"a": subnet(gateway="10.0.0.1", reserved=["10.0.0.7"])})
    assert error.field == "spec.nics[0].address"
    assert why in error.message
    assert not error.retry


def test_a_mac_in_any_ledger_is_refused_with_the_owner() -> None:
    subnets = {"a": subnet(), "b": subnet("b", lines=[line("10.0.0.5", mac="52:54:00:00:00:01")])}
    error = refused({"mac": "52:54:00:00:00:01"}, subnets=subnets)
    assert (error.reason, error.field) == (Reason.ALREADY_EXISTS, "spec.nics[0].mac")
    assert "default/m9 nic eth0" in error.message


def test_two_nics_of_one_machine_cannot_share_a_mac() -> None:
    mac = {"mac": "52:54:00:00:00:01"}
    error = refused(mac, mac, subnets={"a": subnet()})
    assert error.field == "spec.nics[1].mac"


def test_a_mac_that_an_elder_machine_asks_for_is_the_elders_before_the_ledger_says_so() -> None:
    elder = machine({"mac": "52:54:00:00:00:01"}, uid="a-elder", name="m0")
    younger = machine({"mac": "52:54:00:00:00:01"}, uid="b-younger")
    with pytest.raises(DpuError):
        settle(younger, {"a": subnet()}, [elder, younger])
    assert settle(elder, {"a": subnet()}, [elder, younger])["a"][0].mac == "52:54:00:00:00:01"


def test_a_group_address_is_no_mac_of_a_nic() -> None:
    assert not is_unicast("01:00:5e:00:00:01")
    assert refused({"mac": "01:00:5e:00:00:01"}, subnets={"a": subnet()}).field == "spec.nics[0].mac"


def test_the_gateways_mac_is_given_to_nobody() -> None:
    error = refused({"mac": gateway_mac("a")}, subnets={"a": subnet()})
    assert (error.reason, error.field) == (Reason.ALREADY_EXISTS, "spec.nics[0].mac")
    assert "the gateway of subnet a" in error.message
    assert choose_mac("subnet/a", "gateway", (), kept=gateway_mac("a")) != gateway_mac("a")


def test_an_unknown_subnet_names_the_field() -> None:
    assert refused({}, subnets={}).field == "spec.nics[0].subnetRef.name"


def test_a_network_that_leaves_gives_nothing_new_and_takes_nothing() -> None:
    with pytest.raises(DpuError) as caught:
        settle(machine({}), {"a": subnet()}, [], leaving={"lan"})
    assert (caught.value.reason, caught.value.field) == (Reason.NOT_FOUND, "spec.nics[0].subnetRef.name")
    assert settle(machine({}), {"a": subnet(lines=[line("10.0.0.8", uid="u1")])}, [], leaving={"lan"}) == {}


def test_a_broken_subnet_is_told_as_the_subnets_fault() -> None:
    broken = Subnet.parse({"metadata": {"name": "a"}, "spec": {"networkRef": {"name": "lan"}, "cidr": "nonsense"}})
    assert "correct Subnet a" in refused({}, subnets={"a": broken}).remedy


def test_a_full_subnet_may_be_tried_again() -> None:
    full = subnet(cidr="10.0.0.0/30", lines=[line("10.0.0.1")])
    error = refused({}, subnets={"a": full})
    assert error.reason is Reason.EXHAUSTED
    assert error.retry


def test_all_that_a_machine_has_is_given_back() -> None:
    mine = line("10.0.0.8", uid="u1")
    assert released("u1", [subnet(lines=[mine, line("10.0.0.9")])])["a"][0].address == "10.0.0.9"
    assert released("u1", [subnet(lines=[line("10.0.0.9")])]) == {}


def test_a_lease_fits_its_own_subnet_address_and_mac_only() -> None:
    found = subnet(lines=[line("10.0.0.8", uid="u1")])
    lease = leases_of("u1", [found])["eth0"]
    assert lease_fits(machine({}).spec.nics[0], lease)
    assert lease_fits(machine({"address": "10.0.0.8"}).spec.nics[0], lease)
    assert not lease_fits(machine({"address": "10.0.0.9"}).spec.nics[0], lease)
    assert not lease_fits(machine({"mac": "52:54:00:00:00:09"}).spec.nics[0], lease)
    assert not lease_fits(machine({"subnetRef": {"name": "b"}}).spec.nics[0], lease)
    assert not lease_fits(machine({}).spec.nics[0], None)


def test_an_address_that_became_none_is_refused_by_its_field_also_with_a_lease() -> None:
    found = subnet(lines=[line("10.0.0.8", uid="u1")])
    assert not lease_fits(machine({"address": "banana"}).spec.nics[0], leases_of("u1", [found])["eth0"])
    assert refused({"address": "banana"}, subnets={"a": found}).field == "spec.nics[0].address"


def test_a_chosen_mac_is_the_same_each_time_and_avoids_those_that_are_taken() -> None:
    first = choose_mac("u1", "eth0", ())
    assert choose_mac("u1", "eth0", ()) == first
    assert choose_mac("u1", "eth0", {first}) != first
    assert is_unicast(first)
    assert int(first[:2], 16) & 2


def test_addresses_compare_by_value_and_not_by_spelling() -> None:
    found = subnet(cidr="fd00::/64", lines=[line("fd00::5", uid="u1")])
    lease = leases_of("u1", [found])["eth0"]
    assert lease_fits(machine({"address": "fd00:0:0:0:0:0:0:5"}).spec.nics[0], lease)
    assert ip_address("fd00::5") == ip_address("fd00:0:0:0:0:0:0:5")
