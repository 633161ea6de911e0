"""A host for tests: the real daemon in a process, real runc containers, the kernel's groups below one of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from dpu_daemon.drivers.cgroups.files import CONTROLLERS, detect
from dpu_daemon.drivers.cgroups.tree import CgroupTree, enable_controllers
from dpu_daemon.model.cgroup import CgroupVersion, QosClass
from proto.dpu.v1 import cpu_pb2_grpc
from tests.fakes.qsd import DIES_WITH_THE_TEST

MOUNT = Path("/sys/fs/cgroup")
ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
END_S = 60.0
MIB = 1 << 20
PARENTS = {
    QosClass.GUARANTEED: "kubepods",
    QosClass.BURSTABLE: "kubepods/burstable",
    QosClass.BEST_EFFORT: "kubepods/besteffort",
}
BUSY = "while :; do :; done"


def wait_for(done: Callable[[], bool], what: str, limit_s: float = END_S) -> None:
    """Return when it is so.

    Raises:
        TimeoutError: it is not, in time.
    """
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.01)


@dataclass(frozen=True)
class Container:
    """A running container: `pid` of its first process, `path` of its group as the daemon names it."""

    pod: str
    name: str
    pid: int
    path: str

    @property
    def pod_path(self) -> str:
        """Path of its pod's group."""
        return self.path.rpartition("/")[0]

    def cpus(self) -> set[int]:
        """CPUs on which its threads ran last: field 39 of their stat."""
        found = set()
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found.add(int((task / "stat").read_text().rpartition(")")[2].split()[36]))
        return found


@dataclass
class Groups:
    """Groups below one directory of this test's own, in every hierarchy of the kernel."""

    above: str = field(default_factory=lambda: f"dpupool-{os.getpid()}-{time.monotonic_ns() % 1_000_000}")

    def __post_init__(self) -> None:
        self.version = detect(MOUNT)
        self.tree = CgroupTree(MOUNT, above=self.above)
        if self.version is CgroupVersion.V2:
            (MOUNT / self.above).mkdir()
            for path in PARENTS.values():
                self.make(path)
            return
        for path in ("", *PARENTS.values()):
            self.make(path)

    def tops(self) -> list[Path]:
        return [MOUNT / name for name in CONTROLLERS] if self.version is CgroupVersion.V1 else [MOUNT]

    def make(self, path: str) -> None:
        """A group as kubelet makes it: with its parent's CPUs."""
        for top in self.tops():
            directory = top / self.above / path
            directory.mkdir(parents=True, exist_ok=True)
            if self.version is CgroupVersion.V1 and top.name == "cpuset":
                self._inherit(directory)
        if self.version is CgroupVersion.V2:
            assert not enable_controllers(MOUNT, MOUNT / self.above / path)

    def _inherit(self, directory: Path) -> None:
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not (directory / name).read_text().strip():
                (directory / name).write_text((directory.parent / name).read_text())

    def attach(self, path: str, pid: int) -> None:
        for top in self.tops():
            (top / self.above / path / "cgroup.procs").write_text(str(pid))

    def remove(self, path: str) -> None:
        """The group and all below it, in every hierarchy; their processes are gone."""
        for top in [MOUNT] if self.version is CgroupVersion.V2 else list(MOUNT.iterdir()):
            home = top / self.above / path
            for directory, _, _ in os.walk(home, topdown=False):
                wait_for(lambda directory=directory: _gone(Path(directory)), f"{directory} is busy")  # type: ignore[misc]

    def cpu_us(self, path: str) -> int:
        """CPU time that a group has used."""
        if self.version is CgroupVersion.V1:
            return int((MOUNT / "cpuacct" / self.above / path / "cpuacct.usage").read_text()) // 1000
        return self.stat(path)["usage_usec"]

    def stat(self, path: str) -> dict[str, int]:
        """cpu.stat."""
        lines = (self.tree.directory(path, "cpu") / "cpu.stat").read_text().splitlines()
        return {name: int(number) for name, _, number in (line.partition(" ") for line in lines)}


def _gone(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


class Runc:
    """Containers by hand; all of them end with `close`.

    Args:
        folder: for the root file system, bundles and runc's state.
        groups: where their groups are made.
        pivot: False where the root is a ramdisk, which cannot be left by pivot_root.
    """

    def __init__(self, folder: Path, groups: Groups, *, pivot: bool = True) -> None:
        self._folder, self._groups = folder, groups
        self._start = ("run", "-d") if pivot else ("run", "-d", "--no-pivot")
        self._names: list[str] = []
        self.rootfs = make_rootfs(folder / "rootfs")

    def run(
        self,
        pod: str,
        name: str,
        script: str = BUSY,
        *,
        qos: QosClass = QosClass.BURSTABLE,
        cpu: int = 0,
        memory: int = 0,
    ) -> Container:
        """Start a container whose shell runs a script; `cpu` in thousandths and `memory` in bytes limit it."""
        path = f"{PARENTS[qos]}/pod{pod}/{name}"
        bundle = self._folder / f"bundle-{name}"
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(self._spec(path, script, cpu, memory)))
        pid_file = bundle / "pid"
        self.call(*self._start, "--bundle", str(bundle), "--pid-file", str(pid_file), name)
        self._names.append(name)
        return Container(pod, name, int(pid_file.read_text()), path)

    def end(self, name: str) -> None:
        self._names.remove(name)
        self.call("delete", "-f", name)
        shutil.rmtree(self._folder / f"bundle-{name}")

    def close(self) -> None:
        for name in list(self._names):
            self.end(name)

    def call(self, *words: str) -> int:
        """Run runc.

        Raises:
            CalledProcessError: it failed, its words on standard error.
        """
        log = self._folder / "runc.log"
        with log.open("ab") as said:
            argv = ["runc", "--root", str(self._folder / "state"), *words]
            return subprocess.run(
                argv, check=True, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=60
            ).returncode

    def _spec(self, path: str, script: str, cpu: int, memory: int) -> dict[str, object]:
        resources: dict[str, object] = {}
        if cpu:
            resources["cpu"] = {"quota": cpu * 100, "period": 100_000}
        if memory:
            resources["memory"] = {"limit": memory}
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/busybox", "sh", "-c", script],
                "cwd": "/",
                "env": ["PATH=/bin"],
            },
            "root": {"path": str(self.rootfs), "readonly": True},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "cgroupsPath": f"/{self._groups.above}/{path}",
                "namespaces": [{"type": "pid"}, {"type": "mount"}],
                "resources": resources,
            },
        }


def make_rootfs(rootfs: Path) -> Path:
    """A root file system with busybox alone."""
    for name in ("bin", "proc", "dev", "sys", "tmp", "etc"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", rootfs / "bin" / "busybox")
    for name in ("sh", "sleep", "dd"):
        (rootfs / "bin" / name).symlink_to("busybox")
    return rootfs


SETTINGS = """\
name = "node-1"
mode = "host"
journal = "{folder}/journal.db"
listen = "unix:{folder}/d.sock"
[groups]
above = "{above}"
[runtime]
socket = "{runtime}"
[times]
audit_s = {audit_s}
drain_s = 5.0
"""


class HostDaemon:
    """The daemon in a process of its own, killed and started anew as a test likes.

    Args:
        folder: of its files; short, because of the socket.
        above: directory of its groups.
        runtime: socket of the CRI.
        program: module that runs it, and further words.
        audit_s: 10 is what is shipped.
    """

    def __init__(
        self,
        folder: Path,
        above: str,
        *,
        runtime: str = "",
        program: tuple[str, ...] = ("dpu_daemon.main", "--config"),
        audit_s: float = 2.0,
    ) -> None:
        self.folder = folder
        self._program = program
        self.config = folder / "host.toml"
        self.config.write_text(SETTINGS.format(folder=folder, above=above, runtime=runtime, audit_s=audit_s))
        self.address = f"unix:{folder}/d.sock"

    @contextmanager
    def running(self, *more: str) -> Iterator[subprocess.Popen[bytes]]:
        """A daemon that answers; ended with SIGTERM, or found dead, at the end."""
        (self.folder / "d.sock").unlink(missing_ok=True)
        argv = [
            *DIES_WITH_THE_TEST,
            sys.executable,
            "-m",
            self._program[0],
            *self._program[1:],
            str(self.config),
            *more,
        ]
        with (self.folder / "daemon.log").open("ab") as log, subprocess.Popen(argv, cwd=ROOT, stderr=log) as process:
            try:
                with grpc.insecure_channel(self.address) as channel:
                    grpc.channel_ready_future(channel).result(timeout=START_S)
                yield process
            finally:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=END_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    @contextmanager
    def stub(self) -> Iterator[cpu_pb2_grpc.CpuServiceStub]:
        with grpc.insecure_channel(self.address) as channel:
            yield cpu_pb2_grpc.CpuServiceStub(channel)

    def log(self) -> str:
        return (self.folder / "daemon.log").read_text()
