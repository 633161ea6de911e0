"""Intents of pods' ports: which netdev stands for a container, chosen once, or why there is none."""

import hashlib
from collections.abc import Collection, Iterable

from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.model.assignment import NO_VF, Assignment, Holder, PodPort, PortAsk
from dpu_daemon.model.identity import free_function
from dpu_daemon.model.port import Port
from proto.errors import DpuError
from proto.reasons import Reason

ID_LETTERS = 8


def veth_for(holder: Holder, pattern: str, taken: Collection[str]) -> str:
    """Name of the switch's end of a holder's veth: the same at every call while `taken` is the same."""
    attempt = 0
    while True:
        text = f"{holder}#{attempt}" if attempt else str(holder)
        name = pattern.format(id=hashlib.sha256(text.encode()).hexdigest()[:ID_LETTERS])
        if name not in taken:
            return name
        attempt += 1


def intended_veth(
    node: str, assignment: Assignment, ask: PortAsk, others: Iterable[PodPort], settings: NetworkSettings
) -> PodPort:
    """The record of a port on a veth.

    Raises:
        DpuError: UNSUPPORTED when a function was asked for.
    """
    if ask.vf is not None:
        message = f"function {ask.vf} was asked for, and containers of {node} have veths here"
        raise DpuError(Reason.UNSUPPORTED, message, field="vf", remedy="use a network without a device plug-in here")
    holder = Holder(ask.container_id, ask.interface)
    name = veth_for(holder, settings.veth_pattern, {other.representor for other in others})
    return _record(node, assignment, holder, NO_VF, name)


def intended_function(
    node: str,
    assignment: Assignment,
    ask: PortAsk,
    others: Iterable[PodPort],
    machines: Iterable[Port],
    settings: NetworkSettings,
    *,
    bridged: Collection[str] = (),
) -> PodPort:
    """The record of a port on a virtual function: the one that the runtime chose, or the lowest free one.

    Args:
        node: who asks.
        assignment: what it gets.
        ask: what it asks for.
        others: every port that a container holds.
        machines: ports of bare metal; no container gets a function of theirs.
        bridged: representors that OPI's bridge ports have; likewise.
        settings: how many functions there are, and what their representors are called.

    Raises:
        DpuError: NOT_ASSIGNED for a function of a machine or none of this DPU, IN_USE for another container's,
            EXHAUSTED without a free one.
    """
    held = {other.vf: other for other in others if other.vf != NO_VF}
    taken = {port.vf: f"port {port.port_id}" for port in machines}
    taken |= {n: "an OPI client" for n in range(settings.vf_count) if settings.representor(n) in bridged}
    vf = ask.vf
    if vf is None:
        vf = free_function(settings.vf_count, held.keys() | taken.keys())
        if vf is None:
            message = f"all {settings.vf_count} virtual functions of this DPU are taken"
            raise DpuError(Reason.EXHAUSTED, message, field="vf", remedy="end a pod that has one first")
    elif not 0 <= vf < settings.vf_count:
        message = f"function {vf} is none of the {settings.vf_count} of this DPU"
        raise DpuError(Reason.NOT_ASSIGNED, message, field="vf", remedy="compare [network] vf_count with the host's")
    elif vf in taken:
        message = f"function {vf} is that of {taken[vf]}"
        raise DpuError(Reason.NOT_ASSIGNED, message, field="vf", remedy="keep functions of machines out of [vfs]")
    elif vf in held:
        message = f"function {vf} is held by container {held[vf].holder} as {held[vf].port_id}"
        raise DpuError(Reason.IN_USE, message, field="vf", remedy="its DEL gives it back; repeat the call then")
    holder = Holder(ask.container_id, ask.interface)
    return _record(node, assignment, holder, vf, settings.representor(vf))


def _record(node: str, assignment: Assignment, holder: Holder, vf: int, representor: str) -> PodPort:
    return PodPort(
        port_id=assignment.port_id,
        container_id=holder.container_id,
        interface=holder.interface,
        node=node,
        vf=vf,
        representor=representor,
        pod_uid=assignment.pod_uid,
    )
