"""The kernel's groups as the engine sees them: looks off the event loop, alarms when groups come and go."""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from asyncinotify import Inotify
from asyncinotify import Mask as Watch

from dpu_daemon.drivers.cgroups.topology import read_cpus
from dpu_daemon.drivers.cgroups.tree import CgroupTree, check_controllers
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.cgroup import Hierarchy, Knob, Layer, Write
from dpu_daemon.model.cpu import CpuPlace
from proto.cpuset import Mask

KUBELET_STATE = Path("/var/lib/kubelet/cpu_manager_state")
"""Where kubelet keeps its own assignments, with the name of the policy that made them."""


class Runtime(Protocol):
    """Who knows containers by name."""

    async def names(self) -> Mapping[tuple[str, str], str]: ...


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
        self._watching: asyncio.Task[None] | None = None

    async def start(self, lost: Lost) -> None:
        """Watch for groups that come and go."""
        self._watching = asyncio.get_running_loop().create_task(self._watch(lost))

    async def stop(self) -> None:
        """Stop watching; groups stay as they are."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

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

    async def write(self, write: Write) -> None:
        """Set one knob; the kernel answers from memory, so that the event loop may wait for it."""
        self._tree.write(write)

    async def value(self, path: str, knob: Knob) -> int:
        """What a knob is set to."""
        return self._tree.value(path, knob)

    def warnings(self) -> tuple[str, ...]:
        """Controllers that are missing; kubelet's own CPU policy, which would write over ours."""
        found = [f"cgroups: {missing}; bindings cannot hold" for missing in check_controllers(self._tree.mount)]
        policy = self._kubelet_policy()
        if policy not in {"", "none"}:
            found.append(
                f"kubelet's CPU manager policy is {policy}: it writes cpusets, too; set cpuManagerPolicy to none, "
                f"remove {self._kubelet_state} and restart kubelet"
            )
        return tuple(found)

    def _kubelet_policy(self) -> str:
        try:
            state = json.loads(self._kubelet_state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        return str(state.get("policyName", "")) if isinstance(state, dict) else ""

    async def _watch(self, lost: Lost) -> None:
        """Alarm when a group comes or goes: a new container starts on its parent's CPUs."""
        with Inotify() as inotify:
            known = await self._follow(inotify, {})
            lost("groups of pods are watched")
            async for event in inotify:
                if event.mask & Watch.IGNORED:
                    known = {path: watch for path, watch in known.items() if watch is not event.watch}
                    continue
                if event.mask & Watch.ISDIR:
                    known = await self._follow(inotify, known)
                    lost(f"group {event.name} {'came' if event.mask & Watch.CREATE else 'went'}")

    async def _follow(self, inotify: Inotify, known: Mapping[str, object]) -> dict[str, object]:
        """Watch every directory in which a group can come; one that went away loses its watch by itself."""
        seen = await self.look()
        inner = ["", *(path for path, group in seen.groups.items() if group.layer is not Layer.CONTAINER)]
        watches = {path: watch for path, watch in known.items() if path in inner}
        for path in inner:
            if path not in watches:
                try:
                    watches[path] = inotify.add_watch(
                        self._tree.directory(path), Watch.CREATE | Watch.DELETE | Watch.ONLYDIR
                    )
                except FileNotFoundError:
                    continue
        return watches
