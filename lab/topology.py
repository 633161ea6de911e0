"""The lab's networks as plain data: namespaces, bridges, links, addresses. Nothing is done here.

Every address lives in a namespace of the lab, so the same plan serves any number of labs side by side; names of
namespaces begin with the lab's name. Addresses are from 198.18.0.0/15, set aside for test networks (RFC 2544).

    mgmt     198.18.0.0/24  coordinator, storage node, DPUs, BMCs
    storage  198.18.1.0/24  storage node, DPUs; no host is here
    underlay 198.18.2.0/24  nodes for pods, Geneve between them
    fabric   10.77.0.0/24   machines, behind their DPUs' switches; gateway .1 is the namespace that the demo pings from
"""

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from lab.settings import LabSettings

MGMT = IPv4Network("198.18.0.0/24")
STORAGE = IPv4Network("198.18.1.0/24")
UNDERLAY = IPv4Network("198.18.2.0/24")
FABRIC = IPv4Network("10.77.0.0/24")
COORDINATOR_HOST = 10
STORAGE_HOST = 20
DPU_HOST = 100
BMC_HOST = 150
POD_NODE_HOST = 200
DAEMON_PORT = 7443
NBD_PORT = 10809
BMC_PORT = 443
API_PORT = 6443
UPLINK = "up0"
UNDERLAY_PORT = "un0"
VF_PATTERN = "pf0vf{n}"
VF_COUNT = 4


@dataclass(frozen=True)
class Link:
    """A virtual cable between a namespace and a bridge.

    Attributes:
        netns: namespace of the near end.
        name: name of the near end.
        bridge: name of the bridge in the fabric namespace, where the far end is plugged.
        address: of the near end; None for a cable that belongs to a switch.
    """

    netns: str
    name: str
    bridge: str
    address: IPv4Interface | None

    @property
    def far_name(self) -> str:
        """Name of the far end: the namespace's part behind the lab's name, and the bridge's first letter."""
        part = self.netns.split("-", 1)[1]
        return f"{self.bridge[0]}-{part}"


@dataclass(frozen=True)
class Topology:
    """All of a lab's networks.

    Attributes:
        switch: namespace with the bridges.
        netns: every namespace, the switch first.
        bridges: name and, for the machines' gateway, an address.
        links: cables.
        taps: namespace and name of each virtual function's representor.
    """

    switch: str
    netns: tuple[str, ...]
    bridges: tuple[tuple[str, IPv4Interface | None], ...]
    links: tuple[Link, ...]
    taps: tuple[tuple[str, str], ...]


def address_in(network: IPv4Network, host: int) -> IPv4Interface:
    """The host-th address of a network, with its prefix length."""
    return IPv4Interface(f"{network[host]}/{network.prefixlen}")


def coordinator_address() -> str:
    return str(MGMT[COORDINATOR_HOST])


def storage_address(network: IPv4Network = MGMT) -> str:
    return str(network[STORAGE_HOST])


def dpu_address(number: int, network: IPv4Network = MGMT) -> str:
    return str(network[DPU_HOST + number])


def pod_node_address(number: int, network: IPv4Network = MGMT) -> str:
    return str(network[POD_NODE_HOST + number])


def bmc_address(number: int) -> str:
    return str(MGMT[BMC_HOST + number])


def plan(settings: LabSettings) -> Topology:
    """The networks of a lab with so many hosts; host N's DPU is N and its BMC is N, counted from 1."""
    lab = settings.name
    numbers = range(1, settings.hosts + 1)
    mgmt = [(f"{lab}-mgmt", COORDINATOR_HOST), (f"{lab}-st", STORAGE_HOST)]
    mgmt += [(f"{lab}-dpu{n}", DPU_HOST + n) for n in numbers] + [(f"{lab}-bmc{n}", BMC_HOST + n) for n in numbers]
    nodes = range(1, settings.pod_nodes + 1)
    mgmt += [(f"{lab}-node{n}", POD_NODE_HOST + n) for n in nodes]
    storage = [(f"{lab}-st", STORAGE_HOST)] + [(f"{lab}-dpu{n}", DPU_HOST + n) for n in numbers]
    links = [Link(name, "mgmt0", "mgmt", address_in(MGMT, host)) for name, host in mgmt]
    links += [Link(name, "st0", "storage", address_in(STORAGE, host)) for name, host in storage]
    links += [Link(f"{lab}-dpu{n}", UPLINK, "fabric", None) for n in numbers]
    links += [Link(f"{lab}-node{n}", UNDERLAY_PORT, "underlay", None) for n in nodes]
    underlay = (("underlay", None),) if nodes else ()
    return Topology(
        switch=f"{lab}-fab",
        netns=(f"{lab}-fab", *(name for name, _ in mgmt)),
        bridges=(("mgmt", None), ("storage", None), ("fabric", address_in(FABRIC, 1)), *underlay),
        links=tuple(links),
        taps=tuple((f"{lab}-dpu{n}", VF_PATTERN.format(n=vf)) for n in numbers for vf in range(VF_COUNT)),
    )
