"""Which CPUs every group of a host's pods gets, and in which order the files are written.

Between any two writes these hold, so that a kill at any of them leaves nothing wrong behind: a parent covers its
children, no CPU that an instance is to hold alone is given to it before everybody else has left it, and nobody is
given a CPU that another still has to leave.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dpu_daemon.model.cgroup import DEPTH, Hierarchy, Knob, Layer, Write
from proto.cpuset import Mask, show
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """CPUs of one container: those that are its `own`, and all that it may run on."""

    own: Mask
    allowed: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCpus:
    """What a host's CPUs are for.

    Attributes:
        shared: where every container runs that has no binding.
        bindings: by path of the container's group.
    """

    shared: Mask
    bindings: Mapping[str, Binding] = field(default_factory=dict)


def check_wanted(wanted: WantedCpus, online: Mask) -> None:
    """Refuse what cannot be meant.

    Raises:
        DpuError: INVALID; a CPU that is not there, an empty set, two owners of a CPU, an owner's CPU that is shared.
    """
    taken: Mask = 0
    for path, binding in [("the shared pool", Binding(own=0, allowed=wanted.shared)), *sorted(wanted.bindings.items())]:
        if not binding.allowed:
            raise _invalid(f"{path} would have no CPU to run on")
        if binding.allowed & ~online:
            raise _invalid(f"CPU {show(binding.allowed & ~online)} of {path} is not online")
        if binding.own & ~binding.allowed:
            raise _invalid(f"{path} may not run on CPU {show(binding.own & ~binding.allowed)}, which is its own")
        if binding.own & taken:
            raise _invalid(f"CPU {show(binding.own & taken)} of {path} has another owner")
        taken |= binding.own
    if taken & wanted.shared:
        raise _invalid(f"CPU {show(taken & wanted.shared)} is shared and has an owner")
    for path, binding in wanted.bindings.items():
        if binding.allowed & taken & ~binding.own:
            raise _invalid(f"{path} may run on CPU {show(binding.allowed & taken & ~binding.own)}, which is another's")


def on_online(wanted: WantedCpus, online: Mask) -> WantedCpus:
    """What can be had of it while some CPUs are offline: a binding without any runs on the shared pool meanwhile.

    Raises:
        DpuError: WRONG_STATE when every shared CPU is offline.
    """
    shared = wanted.shared & online
    if not shared:
        raise DpuError(
            Reason.WRONG_STATE,
            f"every shared CPU is offline: {show(wanted.shared)}",
            field="shared",
            remedy="bring one of them online, or send bindings with other shared CPUs",
        )
    bindings = {
        path: Binding(own=each.own & online, allowed=each.allowed & online or shared)
        for path, each in wanted.bindings.items()
    }
    return WantedCpus(shared=shared, bindings=bindings)


def target_cpusets(seen: Hierarchy, wanted: WantedCpus) -> dict[str, Mask]:
    """The CPUs that every group is to have: containers by binding, the layers above cover what lies below them."""
    target: dict[str, Mask] = {}
    for layer in reversed(Layer):
        for group in seen.at(layer):
            if layer is Layer.CONTAINER:
                binding = wanted.bindings.get(group.path)
                target[group.path] = binding.allowed if binding else wanted.shared
                continue
            covered = 0
            for child in seen.children(group.path):
                covered |= target[child.path]
            pool = wanted.shared if layer is not Layer.POD or not covered else 0
            target[group.path] = covered | pool
    return target


def plan_cpusets(seen: Hierarchy, wanted: WantedCpus) -> list[Write]:
    """The writes from what is seen to what is wanted; empty when all is right.

    Raises:
        DpuError: WRONG_STATE when containers would have to swap CPUs and no CPU is free to do it over.
    """
    return _Planner(seen, target_cpusets(seen, wanted)).plan()


class _Planner:
    def __init__(self, seen: Hierarchy, target: Mapping[str, Mask]) -> None:
        self._seen = seen
        self._target = target
        self._now = {path: group.running_on for path, group in seen.groups.items()}
        self._file = {path: group.cpuset for path, group in seen.groups.items()}
        self._writes: list[Write] = []
        self._inner = [group.path for layer in (Layer.ROOT, Layer.QOS, Layer.POD) for group in seen.at(layer)]
        self._leaves = [group.path for group in seen.at(Layer.CONTAINER)]

    def plan(self) -> list[Write]:
        for path in self._inner:
            self._set(path, self._now[path] | self._target[path], unless_covered=True)
        for path in self._leaves:
            kept = self._now[path] & self._target[path]
            if kept and kept != self._now[path]:
                self._set(path, kept)
        self._move()
        for path in self._leaves:
            self._set(path, self._target[path])
        for path in sorted(self._inner, key=lambda path: -DEPTH[self._seen.groups[path].layer]):
            self._set(path, self._target[path])
        return self._writes

    def _set(self, path: str, mask: Mask, *, unless_covered: bool = False) -> None:
        covered = unless_covered and self._file[path] and self._file[path] & mask == mask
        if mask == self._file[path] or covered:
            return
        self._writes.append(Write(path=path, knob=Knob.CPUSET, value=mask, before=self._file[path]))
        self._file[path] = self._now[path] = mask

    def _move(self) -> None:
        """Containers that keep none of their CPUs go one after the other, each to CPUs that are left already."""
        moving = [path for path in self._leaves if self._now[path] and not self._now[path] & self._target[path]]
        while moving:
            free = [path for path in moving if not self._target[path] & self._occupied(moving, path)]
            if free:
                for path in free:
                    self._set(path, self._target[path])
                moving = [path for path in moving if path not in free]
            else:
                self._park(moving[0])

    def _occupied(self, moving: list[str], me: str) -> Mask:
        mask = 0
        for path in moving:
            if path != me:
                mask |= self._now[path]
        return mask

    def _park(self, path: str) -> None:
        """Make room in a ring of containers that wait for each other's CPUs."""
        used = 0
        for leaf in self._leaves:
            used |= self._now[leaf] | self._target[leaf]
        ancestors = self._room_above(path)
        spare = ancestors & ~used
        if not spare:
            swapped = show(self._now[path])
            raise DpuError(
                Reason.WRONG_STATE,
                f"{path} would swap CPUs {swapped} with another container, and no CPU is free to do it over",
                field="cpuset",
                remedy="leave containers on the CPUs that they have, or free one CPU first",
            )
        self._set(path, spare & -spare)

    def _room_above(self, path: str) -> Mask:
        room, parent = -1, self._seen.groups[path].parent
        while parent:
            room &= self._now[parent]
            parent = self._seen.groups[parent].parent
        return room


def _invalid(what: str) -> DpuError:
    return DpuError(Reason.INVALID, what, field="cpuset", remedy="correct the binding; nothing was changed")
