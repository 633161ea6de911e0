"""The kernel's groups as the engine sees them: looks off the event loop, alarms when groups come and go."""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from dpu_daemon.drivers.cgroups.topology import read_cpus
from dpu_daemon.drivers.cgroups.tree import CgroupTree, check_controllers
from dpu_daemon.drivers.cgroups.watching import GroupWatch
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.cgroup import Hierarchy, Knob, Write
from dpu_daemon.model.cpu import CpuPlace
from proto.cpuset import Mask

KUBELET_STATE = Path("/var/lib/kubelet/cpu_manager_state")
"""Where kubelet keeps its own assignments, with the name of the policy that made them."""


class Runtime(Protocol):
    """Who knows containers by name."""

    known: bool
    """Whether it answered once."""

    async def names(self) -> Mapping[tuple[str, str], str]: ...

    def trouble(self) -> str:
        """Why it cannot be asked now; empty when it can."""
        ...

    async def close(self) -> None: ...


class KernelGroups:
    """Groups of this machine's kernel.

    Args:
        tree: of the mount.
        runtime: asked for the names of containers; None where there is none to ask.
        kubelet_state: file that tells kubelet's CPU policy.
    """

    def __init__(
        self, tree: CgroupTree, runtime: Runtime | None = None, *, kubelet_state: Path = KUBELET_STATE
    ) -> None:
        self._tree = tree
        self._runtime = runtime
        self._kubelet_state = kubelet_state
        self._watch = GroupWatch(tree)
        self._watching: asyncio.Task[None] | None = None

    async def start(self, lost: Lost) -> None:
        """Watch for groups that come and go."""
        self._watching = asyncio.get_running_loop().create_task(self._watch.run(lost))

    async def stop(self) -> None:
        """Stop watching; groups stay as they are."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        if self._runtime is not None:
            await self._runtime.close()

    def newcomers(self, shared: Mask) -> None:
        """CPUs of every group that comes from now on, written as soon as it is seen; 0: it keeps what it inherits."""
        self._watch.shared = shared

    def version(self) -> str:
        """Version of the interface, and who names groups."""
        names = self._tree.names()
        return f"cgroup {self._tree.version.value}" + (f" {names.value}" if names else "")

    def online(self) -> Mask:
        """CPUs that the kernel runs tasks on."""
        return self._tree.online()

    def places(self) -> list[CpuPlace]:
        """Where each CPU sits."""
        return read_cpus()

    def memory_bytes(self) -> int:
        """Memory of this machine."""
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    async def look(self) -> Hierarchy:
        """Every group of a pod."""
        return await asyncio.to_thread(self._tree.look)

    async def names(self) -> Mapping[tuple[str, str], str]:
        """Container ids by pod uid and name."""
        return await self._runtime.names() if self._runtime else {}

    def names_known(self) -> bool:
        """False while the runtime that is to be asked has not answered yet."""
        return self._runtime is None or self._runtime.known

    async def write(self, write: Write) -> None:
        """Set one knob; the kernel answers from memory, so that the event loop may wait for it."""
        self._tree.write(write)

    async def value(self, path: str, knob: Knob) -> int:
        """What a knob is set to."""
        return self._tree.value(path, knob)

    def warnings(self) -> tuple[str, ...]:
        """Controllers that are missing; kubelet's own CPU policy, which would write over ours."""
        found = [f"cgroups: {missing}; bindings cannot hold" for missing in check_controllers(self._tree.mount)]
        policy = kubelet_policy(self._kubelet_state)
        if policy not in {"", "none"}:
            found.append(
                f"kubelet's CPU manager policy is {policy}: it writes cpusets, too; set cpuManagerPolicy to none, "
                f"remove {self._kubelet_state} and restart kubelet"
            )
        lacking = self._tree.lacking
        if lacking:
            path, why = next(iter(lacking.items()))
            found.append(f"{len(lacking)} groups lack controllers, first {path}: {why}; their pods are not bound")
        if self._runtime is not None and self._runtime.trouble():
            found.append(f"{self._runtime.trouble()}; containers that come now are found by id alone")
        if self._watch.trouble:
            found.append(self._watch.trouble)
        return tuple(found)


def kubelet_policy(state: Path) -> str:
    """The CPU manager policy of kubelet by its state file; empty where there is none."""
    try:
        told = json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(told.get("policyName", "")) if isinstance(told, dict) else ""
