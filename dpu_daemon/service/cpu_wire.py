"""CPUs and sizes between wire and model."""

from collections.abc import Sequence

from dpu_daemon.engine.host_cpus import HostView
from dpu_daemon.model.binding import BoundTo, ContainerName, ContainerSize, HostBindings, PodSize, SizeChange
from dpu_daemon.model.cgroup import Group, Write
from dpu_daemon.model.cpu import CpuPlace
from dpu_daemon.model.usage import GroupDelta, Report
from dpu_daemon.service.validation import check_generation, check_id, check_optional_id, invalid
from proto.cpuset import parse, show
from proto.dpu.v1 import cpu_pb2

MOST_PODS = 1000


def to_bindings(request: cpu_pb2.SetBindingsRequest) -> HostBindings:
    """The bindings of a request.

    Raises:
        DpuError: INVALID naming the field.
    """
    return HostBindings(
        generation=check_generation(request.generation),
        reserved=_cpus("reserved", request.reserved),
        shared=_cpus("shared", request.shared),
        bindings=tuple(_bound(index, each) for index, each in enumerate(request.bindings)),
    )


def _bound(index: int, binding: cpu_pb2.Binding) -> BoundTo:
    where = f"bindings[{index}]"
    return BoundTo(
        who=_who(where, binding.pod_uid, binding.container, binding.container_id),
        own=_cpus(f"{where}.own", binding.own),
        allowed=_cpus(f"{where}.allowed", binding.allowed),
    )


def _who(where: str, pod_uid: str, container: str, container_id: str) -> ContainerName:
    return ContainerName(
        pod_uid=check_id(f"{where}.pod_uid", pod_uid),
        container=check_optional_id(f"{where}.container", container),
        container_id=check_optional_id(f"{where}.container_id", container_id),
    )


def _cpus(field: str, text: str) -> str:
    """The set in its shortest form, so that the same set is the same text."""
    return show(parse(text, field=field))


def to_size_change(request: cpu_pb2.ResizePodsRequest) -> SizeChange:
    """The resize of a request.

    Raises:
        DpuError: INVALID naming the field.
    """
    if not request.pods or len(request.pods) > MOST_PODS:
        raise invalid("pods", f"{len(request.pods)} pods cannot be resized in one change", f"send 1 to {MOST_PODS}")
    return SizeChange(
        request_id=check_id("request_id", request.request_id),
        pods=tuple(_pod(index, each) for index, each in enumerate(request.pods)),
        others_cpu_request_milli=request.others_cpu_request_milli,
        others_memory_request_bytes=request.others_memory_request_bytes,
    )


def _pod(index: int, pod: cpu_pb2.PodSize) -> PodSize:
    where = f"pods[{index}]"
    if not pod.containers:
        raise invalid(f"{where}.containers", "a pod without containers has no size", "send all containers of the pod")
    return PodSize(
        pod_uid=check_id(f"{where}.pod_uid", pod.pod_uid),
        containers=tuple(_size(f"{where}.containers[{n}]", pod.pod_uid, each) for n, each in enumerate(pod.containers)),
        pinned=pod.pinned,
    )


def _size(where: str, pod_uid: str, size: cpu_pb2.ContainerSize) -> ContainerSize:
    if not size.container and not size.container_id:
        raise invalid(where, "neither container nor container_id is given", "send one of them")
    return ContainerSize(
        who=_who(where, pod_uid, size.container, size.container_id),
        cpu_request_milli=size.cpu_request_milli,
        cpu_limit_milli=size.cpu_limit_milli,
        memory_request_bytes=size.memory_request_bytes,
        memory_limit_bytes=size.memory_limit_bytes,
    )


def from_view(view: HostView, places: Sequence[CpuPlace], warnings: Sequence[str], version: str) -> cpu_pb2.HostCpus:
    """How a host stands, on the wire."""
    kind, _, names = version.removeprefix("cgroup ").partition(" ")
    wanted = view.wanted
    return cpu_pb2.HostCpus(
        cpus=[_place(place) for place in places],
        generation=wanted.generation if wanted else 0,
        reserved=wanted.reserved if wanted else "",
        shared=wanted.shared if wanted else "",
        bindings=[_found(found.bound, found.groups) for found in view.found],
        cgroups=kind,
        driver=names,
        warnings=warnings,
    )


def _place(place: CpuPlace) -> cpu_pb2.CpuPlace:
    return cpu_pb2.CpuPlace(
        cpu=place.cpu,
        core=max(0, place.core),
        uncore_cache=max(0, place.uncore_cache),
        numa_node=place.numa_node,
        socket=max(0, place.socket),
        online=place.online,
    )


def _found(bound: BoundTo, groups: Sequence[Group]) -> cpu_pb2.BoundContainer:
    binding = cpu_pb2.Binding(
        pod_uid=bound.who.pod_uid,
        container=bound.who.container,
        container_id=bound.who.container_id,
        own=bound.own,
        allowed=bound.allowed,
    )
    sets = sorted({show(group.running_on) for group in groups})
    if not sets:
        state, message = cpu_pb2.BINDING_STATE_PENDING, "no container of it is here yet"
    elif sets == [bound.allowed]:
        state, message = cpu_pb2.BINDING_STATE_BOUND, "read back from the kernel"
    else:
        state, message = cpu_pb2.BINDING_STATE_DIFFERS, f"the kernel shows {' and '.join(sets)}"
    return cpu_pb2.BoundContainer(binding=binding, state=state, cpuset=",".join(sets[:1]), message=message)


def from_write(write: Write) -> str:
    """A write as a sentence."""
    return f"{write.path}: {write.knob.value} from {write.before} to {write.value}"


def from_report(report: Report) -> cpu_pb2.UsageReport:
    """A report on the wire."""
    return cpu_pb2.UsageReport(
        sequence=report.sequence,
        unix_ms=report.unix_ms,
        full=report.full,
        groups=[_delta(delta) for delta in report.groups],
        gone=report.gone,
        host_cpu_percent=report.host_cpu_percent,
        host_memory_available_bytes=report.host_memory_available_bytes,
    )


def _delta(delta: GroupDelta) -> cpu_pb2.GroupUsage:
    usage = cpu_pb2.GroupUsage(index=delta.index)
    for name, value in delta.changed.items():
        setattr(usage, name, value)
    if delta.member is not None:
        usage.path = delta.member.path
        usage.pod_uid = delta.member.pod_uid
        usage.container_id = delta.member.container_id
    return usage
