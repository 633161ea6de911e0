"""Makes a topology real with netlink, and takes it away again. Every step looks first, so both may be repeated."""

from pyroute2 import NetlinkError, NetNS

from lab import namespace
from lab.topology import Link, Topology

EEXIST = 17


def bring_up(topology: Topology) -> None:
    """Make what is missing: namespaces, bridges, cables, taps, addresses."""
    for name in topology.netns:
        namespace.create(name)
        _loopback_up(name)
    with NetNS(topology.switch, flags=0) as switch:
        for name, address in topology.bridges:
            _ensure(switch, name, kind="bridge")
            _configure(switch, name, None if address is None else str(address))
        for link in topology.links:
            _cable(switch, link)
    for netns, name in topology.taps:
        with NetNS(netns, flags=0) as inside:
            _ensure(inside, name, kind="tuntap", mode="tap")
            _configure(inside, name, None)
    for link in topology.links:
        namespace.disable_tx_checksum(link.netns, link.name)
        namespace.disable_tx_checksum(topology.switch, link.far_name)


def take_down(lab: str) -> list[str]:
    """Remove every namespace of the lab, and so all that is in them; returns their names."""
    names = namespace.of_lab(lab)
    for name in names:
        namespace.remove(name)
    return names


def _loopback_up(name: str) -> None:
    with NetNS(name, flags=0) as inside:
        inside.link("set", index=1, state="up")


def _index(inside: NetNS, name: str) -> int | None:
    found = inside.link_lookup(ifname=name)
    return int(found[0]) if found else None


def _ensure(inside: NetNS, name: str, **attributes: object) -> None:
    if _index(inside, name) is None:
        inside.link("add", ifname=name, **attributes)


def _configure(inside: NetNS, name: str, address: str | None, master: int | None = None) -> None:
    """Up, with its address and its bridge."""
    index = _index(inside, name)
    inside.link("set", index=index, state="up", **({} if master is None else {"master": master}))
    if address is not None:
        try:
            inside.addr("add", index=index, address=address)
        except NetlinkError as error:
            if error.code != EEXIST:
                raise


def _cable(switch: NetNS, link: Link) -> None:
    """A veth pair made in place: the near end is born in its namespace, no link is moved."""
    _ensure(switch, link.far_name, kind="veth", peer={"ifname": link.name, "net_ns_fd": link.netns})
    _configure(switch, link.far_name, None, master=_index(switch, link.bridge))
    with NetNS(link.netns, flags=0) as inside:
        _configure(inside, link.name, None if link.address is None else str(link.address))
