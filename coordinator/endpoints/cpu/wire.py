"""Placements on the wire, and as values."""

from enum import Enum
from typing import TypeVar

import msgspec

from coordinator.core.cpu.admission import InstanceKind, room
from coordinator.core.cpu.annotations import pod_annotations
from coordinator.core.cpu.asks import CpuPolicy, NumaRule
from coordinator.core.cpu.fleet import Place
from coordinator.core.cpu.ledger import Ledger
from coordinator.core.cpu.placing import Explained
from coordinator.core.cpu.shares import MILLI, share_of
from coordinator.core.objects.cpu import InstanceSpec, Placement, PlacementSpec, PodRef, ProcessItem
from coordinator.core.objects.meta import Ref
from proto.cpuset import show
from proto.errors import DpuError
from proto.placement.v1 import placement_pb2 as pb
from proto.reasons import Reason

E = TypeVar("E", bound=Enum)

DEFAULT_NAMESPACE = "default"
PROCESS_S = 300
ALL_CONTAINERS = "*"
"""In place of the containers' names while there is no pod."""

PROCESS_KINDS = ("Volume", "VolumeAttachment", "Network", "Subnet")


def key_of(namespace: str, request_id: str) -> str:
    """Key of a placement.

    Raises:
        DpuError: INVALID without a request id.
    """
    if not request_id:
        raise DpuError(Reason.INVALID, "there is no request id", field="requestId", remedy="give each wish its own id")
    return f"{namespace or DEFAULT_NAMESPACE}/{request_id}"


def spec_from(request: pb.PlaceRequest) -> PlacementSpec:
    """What is asked for.

    Raises:
        DpuError: INVALID naming the field.
    """
    asked = request.instance
    if not asked.application:
        raise _wrong("application", "''", "the name that machineMaxList counts by")
    if asked.cpus < 1:
        raise _wrong("cpus", str(asked.cpus), "a number from 1 on")
    return PlacementSpec(
        instance=InstanceSpec(
            application=asked.application,
            mode=_word(InstanceKind, asked.mode, "mode"),
            cpus=asked.cpus,
            memory_bytes=asked.memory_bytes,
            policy=_word(CpuPolicy, asked.policy or CpuPolicy.SPREAD.value, "policy"),
            numa=_word(NumaRule, asked.numa or NumaRule.ANY.value, "numa"),
        ),
        clusters=list(request.clusters),
        selector=dict(request.selector),
        policy_ref=Ref(name=request.policy) if request.policy else None,
        pod_ref=_pod_ref(request.pod) if request.HasField("pod") else None,
        process=[_item(one) for one in request.process],
        process_seconds=request.process_seconds or PROCESS_S,
    )


def _pod_ref(pod: pb.PodRef) -> PodRef:
    return PodRef(namespace=pod.namespace, name=pod.name, uid=pod.uid, containers=list(pod.containers))


def _item(one: pb.ProcessItem) -> ProcessItem:
    if one.kind not in PROCESS_KINDS:
        raise _wrong("process.kind", repr(one.kind), f"one of {', '.join(PROCESS_KINDS)}")
    try:
        template = msgspec.json.decode(one.template_json, type=dict) if one.template_json else None
    except msgspec.DecodeError as error:
        raise _wrong("process.templateJson", str(error), "the object's spec as JSON") from error
    return ProcessItem(kind=one.kind, name=one.name, template=template)


def _word(kind: type[E], text: str, field: str) -> E:
    try:
        return kind(text)
    except ValueError:
        raise _wrong(field, repr(text), f"one of {', '.join(str(each.value) for each in kind)}") from None


def _wrong(field: str, found: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, f"{field} is {found}", field=f"instance.{field}", remedy=f"write {remedy}")


def placement_to(found: Placement, ledger: Ledger) -> pb.Placement:
    """A placement as the ledger has it."""
    key, binding = found.metadata.key, found.spec.binding
    ready = next((one for one in found.status.conditions if one.type == "Ready"), None)
    answer = pb.Placement(
        namespace=found.metadata.namespace,
        request_id=found.metadata.name,
        node=found.node,
        cpuset=binding.cpuset if binding else "",
        lifted=bool(binding and binding.lifted),
        phase="Assumed" if binding and found.status.phase.value == "Pending" else found.status.phase.value,
        message=ready.message if ready else "",
        why=binding.why if binding else "",
    )
    if binding is not None and ledger.home(key) and ledger.fleet.knows(ledger.home(key)):
        node = ledger.node_of(key)
        instance = node.holdings[key].instance
        answer.allowed = show(node.allowed(key))
        shared = instance.kind is InstanceKind.SHARED
        share = share_of(instance, node.limits.oversell) if shared else None
        answer.cpu_request_milli = share.cpu_request_milli if share else instance.cpus * MILLI
        answer.cpu_limit_milli = instance.cpus * MILLI
        containers = found.spec.pod_ref.containers if found.spec.pod_ref else []
        answer.annotations.update(pod_annotations(node, key, containers or [ALL_CONTAINERS]))
    return answer


def explained_to(found: list[Explained]) -> pb.ExplainResponse:
    """Nodes and their reasons."""
    return pb.ExplainResponse(
        nodes=[pb.NodeExplained(node=one.key, score=one.score, reasons=one.reasons) for one in found]
    )


def node_to(place: Place, only: int | None) -> pb.Node:
    """A node's CPUs and who is on them.

    Raises:
        DpuError: NOT_FOUND, it has no such CPU.
    """
    node = place.node
    if only is not None and only not in node.topology.by_cpu:
        raise DpuError(
            Reason.NOT_FOUND, f"{place.key} has no CPU {only}", field="cpu", remedy=f"it has {show(node.topology.all)}"
        )
    sharing = sorted(name for name, held in node.holdings.items() if not held.alone)
    lifted = sorted(name for name, held in node.holdings.items() if held.lifted)
    left = room(node.limits, node.sold)
    answer = pb.Node(
        node=place.key,
        mode=node.limits.mode.value,
        share_pool=show(node.shared_pool),
        reserved=show(node.reserved),
        exclusive_room=left.exclusive_cpus,
        shared_room=left.shared_cpus,
        memory_room_bytes=left.memory_bytes,
    )
    for number, at in sorted(node.topology.by_cpu.items()):
        if only is not None and number != only:
            continue
        holder = node.holder_of(number)
        reserved = bool(node.reserved >> number & 1)
        answer.cpus.add(
            cpu=number,
            core=at.core,
            numa_node=at.numa,
            socket=at.socket,
            use="exclusive" if holder else "reserved" if reserved else "shared",
            holder=holder,
            others=[] if holder or reserved else [*sharing, *lifted],
        )
    return answer
