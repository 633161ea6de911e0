"""Whatever machines ask for, no address and no MAC is given twice, and what is reserved is given to nobody."""

from ipaddress import ip_address, ip_network

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.ipam.allocate import released, settle
from coordinator.core.ipam.plan import parse_subnet
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.network import Subnet, SubnetSpec
from proto.errors import DpuError

CIDR = "10.0.0.0/28"
ADDRESSES = st.none() | st.integers(0, 15).map(lambda n: f"10.0.0.{n}")
MACS = st.none() | st.integers(1, 4).map(lambda n: f"52:54:00:00:00:{n:02x}")
NICS = st.lists(st.tuples(ADDRESSES, MACS), max_size=3)
STEPS = st.lists(st.tuples(st.integers(0, 4), st.booleans(), NICS), max_size=25)


def machine(number: int, nics: list[tuple[str | None, str | None]]) -> Machine:
    spec = [
        {"name": f"eth{n}", "subnetRef": {"name": "a"}}
        | ({"address": address} if address else {})
        | ({"mac": mac} if mac else {})
        for n, (address, mac) in enumerate(nics)
    ]
    meta = {"name": f"m{number}", "namespace": "default", "uid": f"u{number}"}
    return Machine.parse({"metadata": meta, "spec": {"image": "x", "nics": spec}})


@given(STEPS)
def test_no_history_of_machines_gives_anything_twice(
    steps: list[tuple[int, bool, list[tuple[str | None, str | None]]]],
) -> None:
    spec = {"networkRef": {"name": "lan"}, "cidr": CIDR, "gateway": "10.0.0.1", "reserved": ["10.0.0.4-10.0.0.6"]}
    subnet = Subnet.parse({"metadata": {"name": "a"}, "spec": spec})
    plan = parse_subnet(subnet.spec)
    for number, leaves, nics in steps:
        wish = machine(number, nics)
        try:
            ledgers = released(f"u{number}", [subnet]) if leaves else settle(wish, {"a": subnet}, [])
        except DpuError:
            continue
        if "a" in ledgers:
            status = msgspec.structs.replace(subnet.status, allocations=list(ledgers["a"]))
            subnet = msgspec.structs.replace(subnet, status=status)
        lines = subnet.status.allocations
        assert len({line.address for line in lines}) == len(lines)
        assert len({line.mac for line in lines}) == len(lines)
        assert all(plan.refusal(ip_address(line.address)) == "" for line in lines)
        mine = [line.nic for line in lines if line.uid == f"u{number}"]
        assert mine == ([] if leaves else mine)
        if not leaves:
            assert sorted(mine) == [f"eth{n}" for n in range(len(nics))]


@given(st.integers(20, 30), st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 30)), max_size=5))
def test_the_count_of_free_addresses_is_how_many_can_be_given(length: int, ranges: list[tuple[int, int]]) -> None:
    prefix = ip_network(f"10.0.0.0/{length}")
    reserved = []
    for begin, size in ranges:
        low = prefix.network_address + begin % prefix.num_addresses
        high = min(int(low) + size, int(prefix.broadcast_address))
        reserved.append(f"{low}-{ip_address(high)}")
    plan = parse_subnet(SubnetSpec.parse({"networkRef": {"name": "lan"}, "cidr": str(prefix), "reserved": reserved}))
    free = list(plan.free(frozenset()))
    assert len(free) == plan.total
    assert free == sorted(set(free), key=int)
    assert all(plan.refusal(address) == "" for address in free)
