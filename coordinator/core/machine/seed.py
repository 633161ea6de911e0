"""cloud-init documents of a machine (NoCloud): meta-data and network-config version 2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address

import yaml

from coordinator.core.ipam.allocate import Lease
from coordinator.core.objects.machine import Machine, Nic
from coordinator.core.objects.meta import Json
from coordinator.core.objects.network import Network, Subnet
from coordinator.core.objects.pool import provider_id


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedDocuments:
    """What is on the seed disk. `user_data` may hold secrets: it is never logged."""

    user_data: str
    meta_data: str
    network_config: str

    @property
    def digest(self) -> str:
        """SHA-256 over the three, in hex."""
        return sha256(repr((self.user_data, self.meta_data, self.network_config)).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class NicConfig:
    """All that is settled about a NIC."""

    nic: Nic
    lease: Lease
    subnet: Subnet
    network: Network

    @property
    def prefixed(self) -> str:
        """Its address with prefix length."""
        return f"{self.lease.allocation.address}/{self.subnet.spec.cidr.partition('/')[2]}"

    @property
    def mtu(self) -> int:
        """Its own MTU, or its network's."""
        return self.nic.mtu or self.network.spec.mtu


def nic_configs(
    machine: Machine, leases: Mapping[str, Lease], subnets: Mapping[str, Subnet], networks: Mapping[str, Network]
) -> list[NicConfig]:
    """The NICs for which all is known, in the order of the spec."""
    found = []
    for nic in machine.spec.nics:
        lease, subnet = leases.get(nic.name), subnets.get(nic.subnet_ref.name)
        network = networks.get(subnet.spec.network_ref.name) if subnet else None
        if lease and subnet and network:
            found.append(NicConfig(nic=nic, lease=lease, subnet=subnet, network=network))
    return found


def seed_documents(machine: Machine, user_data: str, nics: Sequence[NicConfig]) -> SeedDocuments:
    """The seed of a machine. User data that is the same for many finds in the meta-data who this one is.

    Source: cloud-init, NoCloud data source and network-config version 2; Jinja in user data can name `provider_id`,
    but no key with a hyphen.
    """
    own = machine.metadata
    meta = {
        "instance-id": own.uid,
        "local-hostname": own.name,
        "provider_id": provider_id(own.namespace, own.name),
    }
    ethernets = {config.nic.name: _ethernet(config, first=index == 0) for index, config in enumerate(nics)}
    network: Json = {"version": 2, "ethernets": ethernets}
    return SeedDocuments(
        user_data=user_data or "#cloud-config\n{}\n",
        meta_data=yaml.safe_dump(meta, sort_keys=True),
        network_config=yaml.safe_dump(network, sort_keys=True),
    )


def _ethernet(config: NicConfig, *, first: bool) -> Json:
    """One NIC; the default route goes by the first NIC alone."""
    spec = config.subnet.spec
    entry: Json = {
        "match": {"macaddress": config.lease.allocation.mac},
        "addresses": [config.prefixed],
        "dhcp4": False,
        "dhcp6": False,
        "mtu": config.mtu,
    }
    if spec.gateway and first:
        default = "0.0.0.0/0" if ip_address(spec.gateway).version == 4 else "::/0"
        entry["routes"] = [{"to": default, "via": spec.gateway}]
    if spec.dns:
        entry["nameservers"] = {"addresses": list(spec.dns)}
    return entry
