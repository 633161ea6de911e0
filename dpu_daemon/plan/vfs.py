"""Which virtual function a container gets, what kubelet may count, and which functions sit well together."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from dpu_daemon.model.assignment import NO_VF, Holder, Sandbox
from dpu_daemon.model.vf import VfDevice, VfSeen
from proto.errors import DpuError
from proto.reasons import Reason

_SHORT_PCI = re.compile(r"[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_NAMED = 8
"""Functions that a message names at most."""


def held(sandboxes: Iterable[Sandbox]) -> dict[int, Sandbox]:
    """Who has which function; one that is being taken back counts until its journal row is gone."""
    return {sandbox.vf: sandbox for sandbox in sandboxes if sandbox.vf != NO_VF}


def judge(seen: Mapping[int, VfSeen], sandboxes: Iterable[Sandbox]) -> dict[int, VfSeen]:
    """What was seen, with a fault where a network device is missing although no container has it."""
    holders = held(sandboxes)
    return {vf: _judged(function, is_held=vf in holders) for vf, function in seen.items()}


def _judged(function: VfSeen, *, is_held: bool) -> VfSeen:
    if function.fault or function.netdev or function.is_userspace or is_held:
        return function
    return replace(function, fault=f"function {function.device_id} has no network device")


def choose_vf(
    asked: str, seen: Mapping[int, VfSeen], sandboxes: Iterable[Sandbox], holder: Holder | None = None
) -> VfSeen:
    """The function for a container; no two containers are ever given the same one.

    Args:
        asked: PCI address, or ``vfN``, that the runtime names; empty leaves the choice to us.
        seen: functions by index, judged.
        sandboxes: as the journal has them.
        holder: who asks; a function that it has already is not another's.

    Raises:
        DpuError: NOT_FOUND, there is no such function; IN_USE naming who has it; UNAVAILABLE naming its fault;
            EXHAUSTED when none is left to choose.
    """
    holders = {vf: sandbox for vf, sandbox in held(sandboxes).items() if sandbox.holder != holder}
    if not asked:
        return _any(seen, holders)
    function = _find(asked, seen)
    if function.vf in holders:
        message = f"function {function.device_id} is held by {_name(holders[function.vf])}"
        remedy = "wait until that container's network is removed; the same call may be repeated"
        raise DpuError(Reason.IN_USE, message, field="deviceID", remedy=remedy)
    if function.fault:
        remedy = "see the physical function and its driver on this host"
        raise DpuError(Reason.UNAVAILABLE, function.fault, field="deviceID", remedy=remedy)
    return function


def refuse_none_usable(seen: Mapping[int, VfSeen]) -> None:
    """Refuse a host where every container needs a function and none works; that all are held is no fault: pods end.

    Raises:
        DpuError: UNAVAILABLE naming the first fault.
    """
    if any(not function.fault for function in seen.values()):
        return
    fault = next((function.fault for function in seen.values()), "there is none")
    remedy = "see the physical function of this host and its driver, and [vfs] of the daemon"
    raise DpuError(Reason.UNAVAILABLE, f"no virtual function of this host works: {fault}", remedy=remedy)


def faults_of(vf: int, seen: Mapping[int, VfSeen]) -> tuple[str, ...]:
    """What is wrong with a function that has no network device to look at; empty when nothing is."""
    function = seen.get(vf)
    fault = function.fault if function is not None else f"function {vf} of this host is gone"
    return (fault,) if fault else ()


def _any(seen: Mapping[int, VfSeen], holders: Mapping[int, Sandbox]) -> VfSeen:
    """The last one that nobody counts or has: kubelet is told to begin with the first."""
    free = [
        function
        for vf, function in seen.items()
        if vf not in holders and not function.counted and not function.fault and not function.is_userspace
    ]
    if free:
        return max(free, key=lambda function: function.vf)
    faults = sum(bool(function.fault) for function in seen.values())
    counted = sum(function.counted and vf not in holders for vf, function in seen.items())
    has = (
        f"{len(holders)} of {len(seen)} functions are held by containers, {counted} kept by kubelet, {faults} at fault"
    )
    raise DpuError(Reason.EXHAUSTED, f"no virtual function is free: {has}", remedy="set up more, or remove pods")


def _find(asked: str, seen: Mapping[int, VfSeen]) -> VfSeen:
    wanted = asked.strip().lower()
    if _SHORT_PCI.fullmatch(wanted):
        wanted = f"0000:{wanted}"
    for function in seen.values():
        if wanted in {function.device_id.lower(), f"vf{function.vf}"}:
            return function
    known = ", ".join(function.device_id for function in sorted(seen.values(), key=lambda each: each.vf)[:_NAMED])
    more = f" and {len(seen) - _NAMED} more" if len(seen) > _NAMED else ""
    message = f"this host has no function {asked}; it has {known or 'none'}{more}"
    raise DpuError(Reason.NOT_FOUND, message, field="deviceID", remedy="see [vfs] of the daemon and the device plug-in")


def _name(sandbox: Sandbox) -> str:
    container = f"container {sandbox.container_id[:12]} ({sandbox.interface})"
    return f"{sandbox.pod}, {container}" if sandbox.pod else container


def countable(seen: Mapping[int, VfSeen], sandboxes: Iterable[Sandbox]) -> tuple[VfDevice, ...]:
    """All functions as kubelet is to count them, by index.

    One that a container got without naming it is at fault for kubelet, which would give it away a second time.
    """
    holders = held(sandboxes)
    devices = []
    for vf in sorted(seen):
        function, holder = seen[vf], holders.get(vf)
        fault = function.fault
        if not fault and holder is not None and not holder.device_id:
            fault = f"function {function.device_id} is held by {_name(holder)}, which did not ask kubelet for it"
        devices.append(VfDevice(device_id=function.device_id, numa_node=function.numa_node, fault=fault))
    return tuple(devices)


def prefer(devices: Sequence[VfDevice], available: Iterable[str], must: Sequence[str], size: int) -> tuple[str, ...]:
    """Which of the available devices a container should get: on as few NUMA nodes as can be, and packed.

    What must be included comes first and its nodes are used up next; then the fullest node that has enough, else the
    one that has most. Within a node the first functions go first.

    Args:
        devices: all there are, in order.
        available: ids among which kubelet chooses.
        must: ids that are settled.
        size: how many in all.

    Returns:
        `size` ids, or fewer when there are not so many.
    """
    chosen = list(dict.fromkeys(must))
    wanted = set(available)
    left = [device for device in devices if device.device_id in wanted and device.device_id not in chosen]
    near = {device.numa_node for device in devices if device.device_id in chosen}
    while left and len(chosen) < size:
        node = _next_node(left, near, size - len(chosen))
        near.add(node)
        taken = [device.device_id for device in left if device.numa_node == node][: size - len(chosen)]
        chosen += taken
        left = [device for device in left if device.numa_node != node]
    return tuple(chosen[:size])


def _next_node(left: Sequence[VfDevice], near: set[int], missing: int) -> int:
    free = Counter(device.numa_node for device in left)
    return min(
        free,
        key=lambda node: (
            node not in near,
            free[node] < missing,
            free[node] if free[node] >= missing else -free[node],
            node,
        ),
    )
