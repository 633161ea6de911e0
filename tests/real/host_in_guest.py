"""What runs inside the guest, on cgroup v2: the daemon as it ships and real runc containers. Each result is a line.

python -m tests.real.host_in_guest
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dpu_daemon.parts.host
import dpu_daemon.service.offer_host  # noqa: F401
from dpu_daemon.config import load
from dpu_daemon.daemon import run
from dpu_daemon.drivers.cgroups.tree import CgroupTree
from dpu_daemon.model.cgroup import CgroupVersion, Knob, Write
from proto.cpuset import parse
from proto.dpu.v1 import cpu_pb2_grpc
from tests.real import host_story
from tests.real.host_rig import MOUNT, Groups, HostDaemon, Runc, wait_for

CHANGES = 24


def say(words: str) -> None:
    print(f"== {words} {time.monotonic():.1f}", flush=True)  # noqa: T201


def controllers_are_turned_on(groups: Groups) -> None:
    """Groups that somebody made without the cpuset controller get it from a look."""
    pod = MOUNT / groups.above / "kubepods" / "podlate"
    (pod / "main").mkdir(parents=True)
    (pod / "cgroup.subtree_control").write_text("-cpuset -cpu -memory")
    assert not (pod / "main" / "cpuset.cpus").exists()
    path = "kubepods/podlate/main"
    tree = CgroupTree(MOUNT, above=groups.above)
    assert path not in tree.look().groups
    assert "groups.enable is off" in tree.lacking[path]
    tree = CgroupTree(MOUNT, above=groups.above, enable=True)
    assert tree.look().groups[path].running_on == parse("0-1")
    assert not tree.lacking
    groups.remove("kubepods/podlate")


def an_empty_cpuset_inherits(stub: cpu_pb2_grpc.CpuServiceStub, runc: Runc, groups: Groups) -> None:
    """Version 2 shows nothing where nobody wrote; what is in force is read, and what others write is put right."""
    idle = runc.run("idle", "idle-main", "sleep 1000")
    groups.tree.directory(idle.pod_path).joinpath("cpuset.cpus").write_text("0-1")
    write = Write(path=idle.path, knob=Knob.CPUSET, value=0, before=0)
    groups.tree.write(write)
    assert groups.tree.look().groups[idle.path].running_on == parse("0-1")
    host_story.bind(stub, 1, idle)
    groups.tree.write(write)
    assert groups.tree.look().groups[idle.path].running_on == parse("1")
    (groups.tree.directory(idle.pod_path) / "cpuset.cpus").write_text("0-1")
    (groups.tree.directory(idle.path) / "cpuset.cpus").write_text("0")
    wait_for(lambda: groups.tree.value(idle.path, Knob.CPUSET) == parse("1"), "the audit puts it right", 30.0)
    runc.end(idle.name)


def a_cpu_goes_offline_and_comes_back(stub: cpu_pb2_grpc.CpuServiceStub, runc: Runc, groups: Groups) -> None:
    """A bound container runs on the shared CPU meanwhile, and has its own again afterwards."""
    bound = runc.run("off", "off-main", "sleep 1000")
    host_story.bind(stub, 2, bound)
    online = Path("/sys/devices/system/cpu/cpu1/online")
    online.write_text("0")
    wait_for(lambda: groups.tree.value(bound.path, Knob.CPUSET) == parse("0"), "it is on the shared CPU", 30.0)
    online.write_text("1")
    wait_for(lambda: groups.tree.value(bound.path, Knob.CPUSET) == parse("1"), "it has its own again", 30.0)
    runc.end(bound.name)


@contextmanager
def forked(daemon: HostDaemon) -> Iterator[None]:
    """The daemon in a process that has loaded its modules already: here that takes a minute, and is not the matter."""
    child = os.fork()
    if child == 0:
        with (daemon.folder / "daemon.log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            asyncio.run(run(load(daemon.config), daemon.config))
        os._exit(0)
    try:
        wait_for((daemon.folder / "d.sock").exists, "the daemon answers", 60.0)
        yield
    finally:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)


def tell_all(folder: Path) -> None:
    groups = Groups()
    assert groups.version is CgroupVersion.V2
    runc = Runc(folder, groups, pivot=False)
    daemon = HostDaemon(folder, groups.above)
    controllers_are_turned_on(groups)
    say("CONTROLLERS")
    with forked(daemon), daemon.stub() as stub:
        say("DAEMON")
        stories: tuple[Callable[[cpu_pb2_grpc.CpuServiceStub, Runc, Groups], None], ...] = (
            host_story.grows_without_a_restart,
            host_story.is_not_lowered_under_use,
            host_story.best_effort_has_three_levels,
            an_empty_cpuset_inherits,
            a_cpu_goes_offline_and_comes_back,
        )
        for story in stories:
            story(stub, runc, groups)
            say(story.__name__)
        seen = host_story.exclusive_cpus_are_kept(stub, runc, groups, changes=CHANGES, first_generation=3)
        assert seen == {1}, seen
        say("exclusive_cpus_are_kept")
    runc.close()


def main() -> None:
    subprocess.run(["/bin/mount", "-t", "cgroup2", "cgroup2", str(MOUNT)], check=True)
    try:
        with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
            try:
                tell_all(Path(name))
            except BaseException:
                for log in Path(name).glob("*.log"):
                    print(f"-- {log.name}\n{log.read_text()[-3000:]}", flush=True)  # noqa: T201
                raise
    finally:
        sys.stdout.flush()
    say(f"ALL DONE on {os.uname().release}")


if __name__ == "__main__":
    main()
