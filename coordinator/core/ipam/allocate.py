"""Gives NICs their addresses and MACs, and takes them back; the ledger is each subnet's status."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from coordinator.core.ipam.mac import choose_mac, gateway_mac, is_unicast
from coordinator.core.ipam.plan import Address, AddressPlan, parse_subnet, zoneless
from coordinator.core.objects.machine import Machine, Nic
from coordinator.core.objects.network import Allocation, Subnet
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A NIC's line in the ledger, and the subnet that it stands in."""

    subnet: str
    allocation: Allocation


class Pods(Protocol):
    """What pods hold; answers are words that name a pod, empty for none."""

    def address(self, subnet: str, address: Address) -> str: ...

    def mac(self, network: str, mac: str) -> str: ...


class NoPods:
    """`Pods` where there are none."""

    def address(self, _subnet: str, _address: Address) -> str:
        return ""

    def mac(self, _network: str, _mac: str) -> str:
        return ""


NO_PODS = NoPods()


@dataclass(frozen=True, slots=True)
class _TakenMacs:
    """MACs of machines, of pods in one network, and of a subnet's gateway."""

    machines: Mapping[str, str]
    pods: Pods
    subnet: Subnet

    def owner(self, mac: str) -> str:
        """Who has a MAC; empty for nobody."""
        if mac == gateway_mac(self.subnet.metadata.name):
            return f"the gateway of subnet {self.subnet.metadata.name}"
        machine = self.machines.get(mac, "")
        return f"machine {machine}" if machine else self.pods.mac(self.subnet.spec.network_ref.name, mac)

    def __contains__(self, mac: object) -> bool:
        return isinstance(mac, str) and bool(self.owner(mac))


@dataclass(frozen=True, slots=True)
class _UsedNumbers:
    """Addresses of machines and pods in one subnet, as integers."""

    machines: frozenset[int]
    pods: Pods
    subnet: str
    version: int

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        address = IPv4Address(number) if self.version == 4 else IPv6Address(number)
        return number in self.machines or bool(self.pods.address(self.subnet, address))


Ledgers = Mapping[str, Sequence[Allocation]]
"""Subnet name to the lines that its ledger shall have."""


def leases_of(machine_uid: str, subnets: Iterable[Subnet]) -> dict[str, Lease]:
    """NIC name to the lease that a machine has."""
    return {
        line.nic: Lease(subnet=subnet.metadata.name, allocation=line)
        for subnet in subnets
        for line in subnet.status.allocations
        if line.uid == machine_uid
    }


def lease_fits(nic: Nic, lease: Lease | None) -> bool:
    """Whether a lease is what the NIC's spec asks for now."""
    if lease is None or lease.subnet != nic.subnet_ref.name:
        return False
    return _is_at(nic, lease.allocation) and (not nic.mac or nic.mac == lease.allocation.mac)


def _is_at(nic: Nic, line: Allocation) -> bool:
    try:
        return not nic.address or zoneless(nic.address) == ip_address(line.address)
    except ValueError:
        return False  # `settle` says so


def settle(
    machine: Machine,
    subnets: Mapping[str, Subnet],
    machines: Iterable[Machine],
    pods: Pods = NO_PODS,
    leaving: Container[str] = (),
) -> Ledgers:
    """The ledgers as they should be for a machine: a fitting line for each of its NICs and no other of its own.

    Only subnets whose ledger changes are in the answer. Lines that fit already are kept as they are.

    Args:
        machines: all that there are, for MACs that a spec claims before its ledger line exists.
        pods: what they hold of these subnets and their networks.
        leaving: networks that are being deleted: their subnets give nothing new.

    Raises:
        DpuError: a NIC's subnet, address or MAC cannot be had; names the field and who has it.
    """
    uid = machine.metadata.uid
    kept = _fitting(machine, subnets.values())
    ledgers = {
        name: [line for line in subnet.status.allocations if line.uid != uid or kept.get(line.nic) is line]
        for name, subnet in subnets.items()
    }
    macs = _macs(ledgers, machine, machines)
    giving = {name: one for name, one in subnets.items() if one.spec.network_ref.name not in leaving}
    for index, nic in enumerate(machine.spec.nics):
        if nic.name not in kept:
            line = _allocate(machine, nic, f"spec.nics[{index}]", giving, ledgers, macs, pods)
            ledgers[nic.subnet_ref.name].append(line)
            macs[line.mac] = f"{machine.metadata.key} nic {nic.name}"
    return {name: lines for name, lines in ledgers.items() if lines != subnets[name].status.allocations}


def is_settled(machine: Machine, subnets: Iterable[Subnet]) -> bool:
    """Whether each NIC has a lease that fits, and the machine no other: of a write of two ledgers one may be made."""
    looked = list(subnets)
    own = sum(line.uid == machine.metadata.uid for subnet in looked for line in subnet.status.allocations)
    return own == len(_fitting(machine, looked)) == len(machine.spec.nics)


def _fitting(machine: Machine, subnets: Iterable[Subnet]) -> dict[str, Allocation]:
    """NIC name to the line of it that fits, the first of several."""
    named = {nic.name: nic for nic in machine.spec.nics}
    found: dict[str, Allocation] = {}
    for subnet in subnets:
        for line in subnet.status.allocations:
            mine = line.uid == machine.metadata.uid and line.nic in named
            if mine and lease_fits(named[line.nic], Lease(subnet=subnet.metadata.name, allocation=line)):
                found.setdefault(line.nic, line)
    return found


def _allocate(
    machine: Machine,
    nic: Nic,
    field: str,
    subnets: Mapping[str, Subnet],
    ledgers: Ledgers,
    macs: Mapping[str, str],
    pods: Pods,
) -> Allocation:
    """A new line for one NIC."""
    subnet = subnets.get(nic.subnet_ref.name)
    if subnet is None or subnet.metadata.deleting:
        raise DpuError(
            Reason.NOT_FOUND,
            f"subnet {nic.subnet_ref.name} does not exist, or it or its network is being deleted",
            field=f"{field}.subnetRef.name",
            remedy="create the Subnet, or name one that `kubectl get subnets` shows",
        )
    mac = _mac(machine, nic, field, _TakenMacs(macs, pods, subnet))
    return Allocation(
        address=str(_address(subnet, nic, field, ledgers[subnet.metadata.name], pods)),
        mac=mac,
        uid=machine.metadata.uid,
        nic=nic.name,
        namespace=machine.metadata.namespace,
        machine=machine.metadata.name,
    )


def released(machine_uid: str, subnets: Iterable[Subnet]) -> Ledgers:
    """The ledgers that change when a machine gives all its addresses back."""
    return {
        subnet.metadata.name: [line for line in subnet.status.allocations if line.uid != machine_uid]
        for subnet in subnets
        if any(line.uid == machine_uid for line in subnet.status.allocations)
    }


def _macs(ledgers: Ledgers, machine: Machine, machines: Iterable[Machine]) -> dict[str, str]:
    """MAC to the words that name its owner; ledger lines go before claims by spec."""
    owners = {
        nic.mac: f"{other.metadata.key} nic {nic.name}"
        for other in machines
        if other.metadata.uid != machine.metadata.uid and _is_elder(other, machine)
        for nic in other.spec.nics
        if nic.mac
    }
    for lines in ledgers.values():
        owners.update({line.mac: f"{line.namespace}/{line.machine} nic {line.nic}" for line in lines})
    return owners


def _is_elder(other: Machine, machine: Machine) -> bool:
    def age(one: Machine) -> tuple[float, str]:
        created = one.metadata.creation_timestamp
        return (created.timestamp() if created else 0.0, one.metadata.uid)

    return age(other) < age(machine)


def _mac(machine: Machine, nic: Nic, field: str, owners: _TakenMacs) -> str:
    if not nic.mac:
        return choose_mac(machine.metadata.uid, nic.name, owners)
    if not is_unicast(nic.mac):
        raise DpuError(
            Reason.INVALID,
            f"{nic.mac} is no MAC address of a NIC",
            field=f"{field}.mac",
            remedy="write a unicast address, or leave it out to have one chosen",
        )
    if nic.mac in owners:
        raise DpuError(
            Reason.ALREADY_EXISTS,
            f"MAC address {nic.mac} belongs to {owners.owner(nic.mac)}",
            field=f"{field}.mac",
            remedy="choose another, or leave it out to have one chosen",
        )
    return nic.mac


def _address(subnet: Subnet, nic: Nic, field: str, lines: Sequence[Allocation], pods: Pods) -> Address:
    plan = _plan(subnet, field)
    if not nic.address:
        machines = frozenset(int(ip_address(line.address)) for line in lines)
        used = _UsedNumbers(machines, pods, subnet.metadata.name, plan.prefix.version)
        chosen = next(plan.free(used), None)
        if chosen is None:
            raise DpuError(
                Reason.EXHAUSTED,
                f"subnet {subnet.metadata.name} has no free address ({len(lines)} given to machines)",
                field=f"{field}.subnetRef.name",
                remedy="delete a machine or pod of this subnet, shorten its spec.reserved, or use another subnet",
            )
        return chosen
    return _static(plan, subnet, nic, field, lines, pods)


def _plan(subnet: Subnet, field: str) -> AddressPlan:
    try:
        return parse_subnet(subnet.spec)
    except DpuError as error:
        raise DpuError(
            Reason.WRONG_STATE,
            f"subnet {subnet.metadata.name} cannot be used: {error}",
            field=f"{field}.subnetRef.name",
            remedy=f"correct Subnet {subnet.metadata.name}",
        ) from error


def _static(
    plan: AddressPlan, subnet: Subnet, nic: Nic, field: str, lines: Sequence[Allocation], pods: Pods
) -> Address:
    remedy = f"choose another of {plan.prefix}, or leave it out to have one chosen"
    try:
        wanted = zoneless(nic.address)
    except ValueError as error:
        raise DpuError(
            Reason.INVALID, f"{nic.address!r} is not an address", field=f"{field}.address", remedy=remedy
        ) from error
    refusal = plan.refusal(wanted)
    if refusal:
        raise DpuError(Reason.INVALID, f"{wanted} {refusal}", field=f"{field}.address", remedy=remedy)
    owners = [line for line in lines if ip_address(line.address) == wanted]
    owner = f"machine {owners[0].namespace}/{owners[0].machine} nic {owners[0].nic}" if owners else ""
    owner = owner or pods.address(subnet.metadata.name, wanted)
    if owner:
        raise DpuError(
            Reason.ALREADY_EXISTS,
            f"{wanted} of subnet {subnet.metadata.name} belongs to {owner}",
            field=f"{field}.address",
            remedy=remedy,
        )
    return wanted
