"""MAC addresses: chosen once and for all from who the NIC is."""

from collections.abc import Container
from hashlib import sha256

PREFIX = "0a:d9"
"""First two bytes of every MAC that we choose: unicast, locally administered."""


def choose_mac(uid: str, nic: str, taken: Container[str], kept: str = "") -> str:
    """The MAC of a NIC without one in its spec: the same each time unless somebody has it.

    Args:
        uid: of the machine.
        taken: MACs of all other NICs.
        kept: one more that it does not get, such as the gateway's; empty for none.
    """
    attempt = 0
    while True:
        digest = sha256(f"{uid}/{nic}/{attempt}".encode()).digest()
        mac = ":".join([PREFIX, *(f"{byte:02x}" for byte in digest[:4])])
        if mac not in taken and mac != kept:
            return mac
        attempt += 1


def gateway_mac(subnet: str) -> str:
    """The MAC of the router's port on a subnet's switch, the same for ever: who else had it would get its traffic."""
    return choose_mac(f"subnet/{subnet}", "gateway", ())


def is_unicast(mac: str) -> bool:
    """Whether `mac` may be a NIC's: not a group address, not zero."""
    return int(mac[:2], 16) & 1 == 0 and mac != "00:00:00:00:00:00"
