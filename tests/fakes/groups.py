"""A kernel's groups in memory, with version 1's refusals: children within parents, quotas below their parents'."""

from collections.abc import Mapping
from dataclasses import replace

from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.cgroup import UNLIMITED, Group, Hierarchy, Knob, Layer, QosClass, Write
from dpu_daemon.model.cpu import CpuPlace
from dpu_daemon.model.usage import Sampled, Usage
from proto.cpuset import Mask, members, parse
from proto.errors import DpuError
from proto.reasons import Reason

FIELDS = {
    Knob.CPUSET: "cpuset",
    Knob.CPU_QUOTA: "quota_milli",
    Knob.CPU_SHARES: "shares",
    Knob.MEMORY: "memory_bytes",
}
PARENTS = {
    QosClass.GUARANTEED: "kubepods",
    QosClass.BURSTABLE: "kubepods/burstable",
    QosClass.BEST_EFFORT: "kubepods/besteffort",
}


class Killed(BaseException):
    """The daemon was killed here."""


class FakeGroups:
    """Groups by path. `refuse` names files that the kernel does not take; `kill_after` ends the daemon.

    Args:
        cpus: that are online.
    """

    def __init__(self, cpus: str = "0-7") -> None:
        self.online_cpus = parse(cpus)
        self.groups: dict[str, Group] = {}
        self.container_names: dict[tuple[str, str], str] = {}
        self.runtime_answered = True
        self.told: tuple[str, ...] = ()
        self.for_newcomers: Mask = 0
        self.refuse: set[tuple[str, Knob]] = set()
        self.kill_after: int | None = None
        self.writes: list[Write] = []
        self.vanishing: list[str] = []
        self._alarm: Lost = lambda _sentence: None
        for path, parent, layer in (
            ("kubepods", "", Layer.ROOT),
            ("kubepods/burstable", "kubepods", Layer.QOS),
            ("kubepods/besteffort", "kubepods", Layer.QOS),
        ):
            self._put(Group(path=path, parent=parent, layer=layer, shares=2))

    def run(self, pod: str, *containers: str, qos: QosClass = QosClass.BURSTABLE, used_bytes: int = 0) -> str:
        """Start a pod as kubelet and a runtime do: its groups inherit; returns the pod's path."""
        path = f"{PARENTS[qos]}/pod{pod}"
        self._put(Group(path=path, parent=PARENTS[qos], layer=Layer.POD, qos=qos, pod_uid=pod))
        for name in containers:
            leaf = f"{path}/{name}-id"
            self._put(
                Group(
                    path=leaf,
                    parent=path,
                    layer=Layer.CONTAINER,
                    qos=qos,
                    pod_uid=pod,
                    container_id=f"{name}-id",
                    memory_used_bytes=used_bytes,
                )
            )
            self.container_names[pod, name] = f"{name}-id"
        self._alarm(f"group of pod {pod} came")
        return path

    def end(self, pod: str) -> None:
        """The pod's groups are removed."""
        self.groups = {path: group for path, group in self.groups.items() if group.pod_uid != pod}
        self._alarm(f"group of pod {pod} went")

    def _put(self, group: Group) -> None:
        cpuset = self.groups[group.parent].cpuset if group.parent else self.online_cpus
        self.groups[group.path] = replace(group, cpuset=cpuset, effective=cpuset)

    async def start(self, lost: Lost) -> None:
        """Alarms go there from now on."""
        self._alarm = lost

    async def stop(self) -> None:
        """Nothing to let go of."""

    def version(self) -> str:
        return "fake groups"

    def online(self) -> Mask:
        return self.online_cpus

    def places(self) -> list[CpuPlace]:
        return [
            CpuPlace(cpu=cpu, core=cpu // 2, uncore_cache=0, numa_node=0, socket=0, online=True)
            for cpu in members(self.online_cpus)
        ]

    def memory_bytes(self) -> int:
        return 8 << 30

    def warnings(self) -> tuple[str, ...]:
        return self.told

    async def look(self) -> Hierarchy:
        return Hierarchy(groups=dict(self.groups))

    async def names(self) -> Mapping[tuple[str, str], str]:
        return dict(self.container_names)

    def names_known(self) -> bool:
        return self.runtime_answered

    def newcomers(self, shared: Mask) -> None:
        self.for_newcomers = shared

    async def value(self, path: str, knob: Knob) -> int:
        return self._group(path).value(knob)

    async def write(self, write: Write) -> None:
        if self.kill_after is not None:
            if self.kill_after == 0:
                raise Killed
            self.kill_after -= 1
        if self.vanishing and write.path.startswith(self.vanishing[0]):
            gone = self.vanishing.pop(0)
            self.groups = {path: group for path, group in self.groups.items() if not path.startswith(gone)}
        group = self._group(write.path)
        if (write.path, write.knob) in self.refuse or not self._fits(group, write):
            raise DpuError(Reason.IN_USE, f"the kernel refuses {write}", field=write.knob.value, remedy="look around")
        self.writes.append(write)
        changed = replace(group, **{FIELDS[write.knob]: write.value})  # type: ignore[arg-type]
        self.groups[write.path] = replace(changed, effective=changed.cpuset)

    def _group(self, path: str) -> Group:
        try:
            return self.groups[path]
        except KeyError:
            raise DpuError(Reason.NOT_FOUND, f"there is no group {path}", field="pod", remedy="it ended") from None

    def _fits(self, group: Group, write: Write) -> bool:
        above = self.groups.get(group.parent)
        below = [each for each in self.groups.values() if each.parent == group.path]
        if write.knob is Knob.CPUSET:
            inside = not above or not write.value & ~above.cpuset
            return bool(write.value) and inside and not any(each.cpuset & ~write.value for each in below)
        if write.knob is Knob.CPU_QUOTA:
            limits = [above.quota_milli] if above else []
            return all(UNLIMITED in {limit, write.value} or write.value <= limit for limit in limits) and all(
                UNLIMITED in {each.quota_milli, write.value} or each.quota_milli <= write.value for each in below
            )
        return True


class FakeSampler:
    """Every group it follows uses one microsecond more each time it is asked."""

    def __init__(self) -> None:
        self._usage: dict[str, Usage] = {}
        self._names: dict[str, tuple[str, str]] = {}

    def follow(self, seen: Hierarchy) -> None:
        self._usage = {path: self._usage.get(path, Usage()) for path in seen.groups}
        self._names = {path: (group.pod_uid, group.container_id) for path, group in seen.groups.items()}

    def sample(self) -> Sampled:
        for usage in self._usage.values():
            usage.cpu_usage_us += 1
        return Sampled(unix_ms=1, groups=dict(self._usage))

    def names(self) -> Mapping[str, tuple[str, str]]:
        return self._names

    def close(self) -> None:
        self._usage.clear()
