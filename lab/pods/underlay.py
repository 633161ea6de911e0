"""Keeps the address of tunnels on the underlay's bridge, which the userspace datapath makes anew at each start.

python -m lab.pods.underlay BRIDGE ADDRESS/LENGTH
"""

import signal
import socket
import sys
import threading
from ipaddress import IPv4Interface

from pyroute2 import IPRoute, NetlinkError

from lab import namespace
from proto.supervision import notify

EEXIST = 17
LOOK_S = 0.5


def hold(bridge: str, address: IPv4Interface, stop: threading.Event) -> None:
    """Put the address on the bridge whenever it is there without."""
    told = False
    with IPRoute() as netlink:
        while not stop.is_set():
            numbers = netlink.link_lookup(ifname=bridge)
            if numbers and not netlink.get_addr(index=numbers[0], family=socket.AF_INET):
                _configure(netlink, bridge, numbers[0], address)
            if numbers and not told:
                notify("READY=1")
                told = True
            stop.wait(LOOK_S)


def _configure(netlink: IPRoute, bridge: str, number: int, address: IPv4Interface) -> None:
    try:
        namespace.disable_tx_checksum("", bridge)
        netlink.link("set", index=number, state="up")
        netlink.addr("add", index=number, address=str(address.ip), prefixlen=address.network.prefixlen)
    except NetlinkError as error:
        if error.code != EEXIST:
            print(f"{bridge}: {error}", file=sys.stderr)  # noqa: T201  (the unit's log)


def main() -> None:
    """Hold until SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    hold(sys.argv[1], IPv4Interface(sys.argv[2]), stop)


if __name__ == "__main__":
    main()
