"""Which server a machine gets, and why not the others."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coordinator.core.conditions import Aspect, find
from coordinator.core.objects.fleet import Dpu, DpuPhase, Host, HostPhase
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.pool import POOL_LABEL
from coordinator.core.pool.stock import machine_name

DPU_WORDS = {
    DpuPhase.OFFLINE: "is offline",
    DpuPhase.PENDING: "has not answered yet",
    DpuPhase.DEGRADED: "is being put in order",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Servers that fit, best first, and the sentence that tells of the others."""

    fitting: tuple[str, ...]
    why: str


def choose_host(machine: Machine, hosts: Sequence[Host], dpus: Mapping[str, Dpu]) -> Choice:
    """Find the servers that a machine may have; the smallest that fits comes first."""
    wanted = machine.spec.host_ref
    reasons: Counter[str] = Counter()
    fitting: list[Host] = []
    for host in hosts:
        reason = refusal(machine, host, dpus.get(host.spec.dpu_ref.name))
        if reason:
            reasons[reason] += 1
        else:
            fitting.append(host)
    fitting.sort(key=lambda host: (host.spec.hardware.cpus, host.spec.hardware.memory_mib, host.metadata.name))
    return Choice(
        fitting=tuple(host.metadata.name for host in fitting),
        why=_sentence(len(fitting), len(hosts), reasons, wanted.name if wanted else ""),
    )


def refusal(machine: Machine, host: Host, dpu: Dpu | None) -> str:
    """Why `host` is not for `machine`, worded to follow a number; empty when it is."""
    return _mismatch(machine, host) or _in_pools_hands(machine, host) or _unready(machine, host, dpu)


def pool_of(machine: Machine, host: str) -> str:
    """The pool whose loop made `machine` for this very server; empty for a machine that anybody else made."""
    pool = machine.metadata.labels.get(POOL_LABEL, "")
    pinned = machine.spec.host_ref is not None and machine.spec.host_ref.name == host
    return pool if pool and pinned and machine.metadata.name == machine_name(pool, host) else ""


def _in_pools_hands(machine: Machine, host: Host) -> str:
    """Why the pools' ledger keeps a server from a machine: a server of a pool is had through that pool alone."""
    mine, lease = pool_of(machine, host.metadata.name), host.spec.lease
    if mine:
        return "" if lease.pool == mine else f"not leased to pool {mine}, whose machine this is"
    if lease.pool:
        return f"leased to pool {lease.pool}"
    if lease.reserved_for:
        return f"kept for pool {lease.reserved_for}"
    return f"owned by pool {host.spec.pool_ref.name} (spec.poolRef)" if host.spec.pool_ref else ""


def _mismatch(machine: Machine, host: Host) -> str:
    spec, hardware = machine.spec, host.spec.hardware
    if spec.host_ref and spec.host_ref.name != host.metadata.name:
        return "not named by spec.hostRef"
    labels = host.metadata.labels
    for label, value in sorted(spec.host_selector.match_labels.items()):
        if labels.get(label) != value:
            return f"without label {label}={value} (spec.hostSelector.matchLabels)"
    if hardware.cpus < spec.resources.cpus:
        return f"with less than {spec.resources.cpus} CPUs (spec.resources.cpus)"
    if hardware.memory_mib < spec.resources.memory_mib:
        return f"with less than {spec.resources.memory_mib} MiB of memory (spec.resources.memoryMiB)"
    return ""


def _unready(machine: Machine, host: Host, dpu: Dpu | None) -> str:
    claim = host.spec.claim_ref
    if claim and claim.uid != machine.metadata.uid:
        return "held by another machine"
    if host.metadata.deleting or host.spec.unschedulable:
        return "being removed" if host.metadata.deleting else "unschedulable"
    if dpu is None:
        return f"whose DPU {host.spec.dpu_ref.name} is not registered"
    if dpu.status.phase in DPU_WORDS:
        return f"whose DPU {dpu.metadata.name} {DPU_WORDS[dpu.status.phase]}"
    if host.status.phase is HostPhase.UNHEALTHY:
        return f"unhealthy: {_complaint(host)}"
    return "not looked at yet" if host.status.phase is HostPhase.PENDING else ""


def _complaint(host: Host) -> str:
    found = find(host.status.conditions, Aspect.READY)
    return found.message if found else "its BMC does not answer"


def _sentence(fit: int, total: int, reasons: Counter[str], wanted: str) -> str:
    if wanted and not total:
        return f"host {wanted} does not exist: correct spec.hostRef.name or create the BareMetalHost"
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f"{fit}/{total} hosts are available" + (f": {listed}" if listed else "")
