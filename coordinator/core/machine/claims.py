"""Claims: which host is a machine's, and which claim is nobody's."""

from collections.abc import Iterable

from coordinator.core.objects.fleet import Host
from coordinator.core.objects.machine import Machine


def claimed_host(machine: Machine, held: Iterable[Host]) -> Host | None:
    """The host that a machine has: the one its status names when that one is held, else the first held by name."""
    by_name = {host.metadata.name: host for host in held}
    named = machine.status.host_ref.name if machine.status.host_ref else ""
    if named in by_name:
        return by_name[named]
    return by_name[min(by_name)] if by_name else None


def users(host: Host, machines: Iterable[Machine]) -> list[str]:
    """Who stands in the way of a host's removal: its claim, and machines that say that they have it."""
    claim = host.spec.claim_ref
    found = {f"{claim.namespace}/{claim.name}"} if claim else set()
    name = host.metadata.name
    found |= {one.metadata.key for one in machines if one.status.host_ref and one.status.host_ref.name == name}
    return sorted(found)


def is_stray(host: Host, machine: Machine | None) -> bool:
    """Whether a host's claim is not of a machine that has it: that is gone, made anew, or has another host."""
    if machine is None or machine.metadata.uid != host.holder:
        return True
    named = machine.status.host_ref
    return named is not None and named.name != host.metadata.name
