"""What a host lacks for its pods: for binding CPUs to them, for giving them functions."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from dpu_daemon.config_host import HostConfig
from dpu_daemon.drivers.cgroups.driver import kubelet_policy
from dpu_daemon.drivers.cgroups.files import CONTROLLERS
from dpu_daemon.drivers.cgroups.tree import CgroupTree, check_controllers
from dpu_daemon.findings import Finding
from dpu_daemon.model.cgroup import CgroupVersion
from proto.cpuset import show


def examine_host(config: HostConfig) -> Iterator[Finding]:
    """Look at control groups, kubelet's policy, the runtime's socket and functions; changes nothing."""
    if config.vfs is not None:
        from dpu_daemon.check_vfs import examine_vfs  # noqa: PLC0415  (a host without functions loads none of it)

        yield from examine_vfs(config.vfs)
    mount = config.groups.mount
    if not mount.is_dir():
        yield Finding("groups.mount", passed=False, says=f"{mount} is no directory", remedy="mount cgroups there")
        return
    missing = check_controllers(mount)
    tree = CgroupTree(mount, above=config.groups.above)
    says = "; ".join(missing) or f"{mount} has cgroups {tree.version.value} with {', '.join(CONTROLLERS)}"
    remedy = "boot with these controllers: see cgroup_enable= and cgroup_no_v1= of the kernel's command line"
    yield Finding("groups.mount", passed=not missing, says=says, remedy=remedy if missing else "")
    if not missing:
        yield _above(tree)
        yield _right(tree)
    yield _kubelet(config.kubelet.cpu_manager_state)
    if config.runtime.socket != Path():
        yield _runtime(config.runtime.socket)


def _above(tree: CgroupTree) -> Finding:
    home = tree.directory("")
    if not home.is_dir():
        remedy = "give kubelet's --cgroup-root, or leave groups.above empty"
        return Finding("groups.above", passed=False, says=f"{home} is no directory", remedy=remedy)
    names = tree.names()
    pods = f"pods are named by {names.value}" if names else "kubelet has made no group yet"
    return Finding("groups.above", passed=True, says=f"{home}: {pods}, with CPUs {show(tree.online())}")


def _right(tree: CgroupTree) -> Finding:
    file = tree.directory("") / ("cgroup.subtree_control" if tree.version is CgroupVersion.V2 else "cgroup.procs")
    may = os.access(file, os.W_OK)
    remedy = "" if may else "run the daemon as root, and without ProtectControlGroups= of systemd"
    return Finding("groups", passed=may, says=f"{file} can {'' if may else 'not '}be written", remedy=remedy)


def _kubelet(state: Path) -> Finding:
    policy = kubelet_policy(state)
    says = f"CPU manager policy is {policy or 'not told: no state file'}"
    passed = policy in {"", "none"}
    remedy = "" if passed else f"set cpuManagerPolicy to none, remove {state} and restart kubelet"
    return Finding("kubelet.cpu_manager_state", passed=passed, says=f"{state}: {says}", remedy=remedy)


def _runtime(path: Path) -> Finding:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except OSError as error:
            remedy = "start the container runtime, or leave runtime.socket empty: names of containers are unknown then"
            return Finding("runtime.socket", passed=False, says=f"{path}: {error.strerror or error}", remedy=remedy)
    return Finding("runtime.socket", passed=True, says=f"{path} answers")
