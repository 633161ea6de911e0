"""Judges the I/O queue map that a node's annotation gives: a good one is taken, a bad one leaves the old in force."""

from coordinator.clients.host_cpus import HostReport
from coordinator.controllers.cpu.context import CpuContext
from coordinator.core.conditions import Aspect, Truth, find, with_condition
from coordinator.core.cpu.ioqueues import ANNOTATION, accept_update, parse_queue_map
from coordinator.core.cpu.ledger import Ledger
from coordinator.core.cpu.reading import queues_of
from coordinator.core.objects.cpu import CpuNode
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Condition
from proto.cpuset import mask_of, show
from proto.errors import DpuError


def judge_queues(
    context: CpuContext, found: CpuNode, report: HostReport, ledger: Ledger
) -> tuple[dict[str, str], Condition | None]:
    """The map in force from now on, and a condition when there is something to say.

    An annotation that is gone lets the map be laid out anew only when no instance holds CPUs of the node alone.
    """
    present = dict(found.status.io_queues)
    text = _annotation(context, found)
    if not text:
        key = found.place_key
        held = ledger.fleet.knows(key) and bool(ledger.fleet.get(key).node.exclusive)
        return (present if held else {}), None
    try:
        new = parse_queue_map(text, mask_of(cpu.cpu for cpu in report.cpus))
        accepted = accept_update(queues_of(found), new)
    except DpuError as error:
        known = find(found.status.conditions, Aspect.IO_QUEUES_ACCEPTED)
        if known is None or known.message != str(error):
            context.events.tell(Kind.CPU_NODE, found.metadata, "IoQueuesRefused", str(error), warning=True)
        return present, _told(context, found, Truth.FALSE, "Refused", str(error))
    queues = {str(queue): show(cpus) for queue, cpus in accepted.queues.items()}
    return queues, _told(context, found, Truth.TRUE, "Accepted", f"{len(queues)} queues are known")


def _annotation(context: CpuContext, found: CpuNode) -> str:
    """From the Kubernetes node, or from the CpuNode itself where a cluster has no such node."""
    node = context.clusters.node(found.spec.cluster, found.node_name)
    annotations = (node["metadata"].get("annotations") or {}) if node else {}
    return str(annotations.get(ANNOTATION) or found.metadata.annotations.get(ANNOTATION, ""))


def _told(context: CpuContext, found: CpuNode, truth: Truth, reason: str, message: str) -> Condition:
    written = with_condition(
        found.status.conditions,
        Aspect.IO_QUEUES_ACCEPTED,
        truth,
        reason=reason,
        message=message,
        generation=found.metadata.generation,
        now=context.clock(),
    )
    return next(one for one in written if one.type == Aspect.IO_QUEUES_ACCEPTED.value)
