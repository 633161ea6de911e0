"""What a host's CPUs are for and how large its pods are, as the coordinator said last."""

from dataclasses import dataclass

from dpu_daemon.model.cgroup import UNLIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerName:
    """A container as Kubernetes knows it.

    Attributes:
        container: its name; empty for every container of the pod.
        container_id: of the runtime, without its prefix; empty where it is found by the name.
    """

    pod_uid: str
    container: str = ""
    container_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundTo:
    """CPUs of a container in the kernel's list format; see `plan.cpusets.Binding`."""

    who: ContainerName
    own: str
    allowed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBindings:
    """The whole of it; one per host, in place of the one before.

    Attributes:
        generation: grows with every change.
        reserved: CPUs on which no pod runs, as ``0-3``.
        shared: where every container runs that is not bound.
    """

    generation: int
    reserved: str
    shared: str
    bindings: tuple[BoundTo, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSize:
    """Wanted size of a container; UNLIMITED for no limit."""

    who: ContainerName
    cpu_request_milli: int = 0
    cpu_limit_milli: int = UNLIMITED
    memory_request_bytes: int = 0
    memory_limit_bytes: int = UNLIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSize:
    """Wanted sizes of all containers of a pod; `pinned` when it has CPUs of its own."""

    pod_uid: str
    containers: tuple[ContainerSize, ...]
    pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeChange:
    """A resize that was begun: journalled before its first write, and finished after a restart.

    Attributes:
        request_id: of the caller; a repeat with the same content is the same change.
        settled: every file was read back; from then on others may change the sizes.
    """

    request_id: str
    pods: tuple[PodSize, ...]
    others_cpu_request_milli: int = 0
    others_memory_request_bytes: int = 0
    settled: bool = False
