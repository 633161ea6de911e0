"""A virtual machine that runs this machine's own files: Debian's kernel, the root over virtiofs, writes in memory.

What it runs is the interpreter and the code of the tests, on virtual PCIe hardware of its own.
"""

import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from lab.image import kernel
from lab.image.kernel import without_signature
from lab.image.shell import run
from lab.qemu import find
from tests.fakes.qsd import DIES_WITH_THE_TEST

VIRTIOFSD = Path("/usr/lib/qemu/virtiofsd")
"""Of Debian's qemu-system-common."""
MODULES = ("virtio_pci", "virtiofs", "overlay", "virtio_blk", "nvme", "ext4", "xfs")
MEMORY = "1G"
PORTS = 2
INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do insmod "$module" || echo "init: $module was refused"; done
mkdir -p /lower /rw
mount -t virtiofs -o ro host /lower
mount -t tmpfs rw /rw
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work overlay /newroot
for folder in proc sys dev; do mount --move /$folder /newroot/$folder; done
mount -t tmpfs run /newroot/run
mkdir -p /newroot/dev/shm
ip link set lo up
exec chroot /newroot @COMMAND@
"""
COMMAND_LINE = (
    "console=ttyS0,115200 quiet loglevel=3 mitigations=off random.trust_cpu=on cryptomgr.notests tsc=reliable"
    " rcupdate.rcu_expedited=1 lpj=4000000 panic=-1"
)


class GuestMachine:
    """One machine; its console is a file, its monitor is spoken to by hand.

    Args:
        directory: short, for sockets and the console.
        command: what it runs; the machine ends with it.
        devices: more arguments of QEMU.
        modules: kernel modules that it needs besides those for its disks and files.
        built: module files that are loaded after all others.
    """

    def __init__(
        self,
        directory: Path,
        command: str,
        devices: list[str],
        modules: tuple[str, ...] = (),
        built: tuple[Path, ...] = (),
    ) -> None:
        self._directory = directory
        self._console = directory / "console"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._command = command
        self._devices = devices
        self._modules = modules
        self._built = built
        self._monitor: socket.socket | None = None

    def start(self) -> None:
        found, linux = find(), kernel.ensure()
        assert found is not None
        files = self._directory / "files.sock"
        options = ["-o", "source=/,sandbox=chroot,cache=always,no_xattr", "--rlimit-nofile=0"]
        self._spawn([str(VIRTIOFSD), f"--socket-path={files}", *options], "files.log", dict(os.environ))
        self._wait(files.exists, 10)
        arguments = [
            str(found.system), *found.system_arguments,
            "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot",
            "-machine", "q35,memory-backend=memory", "-m", MEMORY,
            "-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on",
            "-kernel", str(linux.vmlinuz), "-initrd", str(self._initramfs(linux)), "-append", COMMAND_LINE,
            "-chardev", f"socket,id=files,path={files}", "-device", "vhost-user-fs-pci,chardev=files,tag=host",
            "-chardev", f"file,id=console,path={self._console}", "-serial", "chardev:console",
            "-qmp", f"unix:{self._directory}/qmp.sock,server=on,wait=off",
            *self._devices,
        ]  # fmt: skip
        for number in range(PORTS):
            arguments += ["-device", f"pcie-root-port,id=rp{number},chassis={number}"]
        self._spawn(arguments, "qemu.log", {**os.environ, **found.environment})

    def stop(self) -> None:
        if self._monitor is not None:
            self._monitor.close()
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def read(self) -> str:
        """All that it has said."""
        return self._console.read_text(encoding="utf-8", errors="replace") if self._console.exists() else ""

    def until(self, word: str, timeout_s: float) -> None:
        """Wait until it says so."""
        self._wait(lambda: word in self.read() or self._ended(), timeout_s)
        assert word in self.read(), self.read()[-3000:] + self._log("qemu.log") + self._log("files.log")

    def tell(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """Run a command of QEMU's monitor."""
        if self._monitor is None:
            self._monitor = socket.socket(socket.AF_UNIX)
            self._monitor.settimeout(20)
            self._monitor.connect(f"{self._directory}/qmp.sock")
            self._lines = self._monitor.makefile("r", encoding="utf-8")
            self._lines.readline()
            self.tell("qmp_capabilities")
        message = json.dumps({"execute": command, "arguments": arguments or {}})
        self._monitor.sendall(message.encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                raise AssertionError(answer["error"]["desc"])
            if "return" in answer:
                return answer["return"]

    def _spawn(self, command: list[str], log: str, environment: dict[str, str]) -> None:
        with (self._directory / log).open("wb") as said:
            self._processes.append(
                subprocess.Popen(
                    [*DIES_WITH_THE_TEST, *command], stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment
                )
            )

    def _ended(self) -> bool:
        return any(process.poll() is not None for process in self._processes)

    def _log(self, name: str) -> str:
        return f"\n{name}: {(self._directory / name).read_text(errors='replace')[-1000:]}"

    def _wait(self, done: Any, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(self.read()[-3000:] + self._log("files.log"))
            time.sleep(0.05)

    def _initramfs(self, linux: kernel.Kernel) -> Path:
        with tempfile.TemporaryDirectory(dir=self._directory) as name:
            tree = Path(name)
            for folder in ("bin", "dev", "proc", "sys", "newroot", "modules"):
                (tree / folder).mkdir()
            shutil.copy(shutil.which("busybox") or "/bin/busybox", tree / "bin" / "busybox")
            for number, module in enumerate([*linux.closure(MODULES + self._modules), *self._built]):
                stripped = without_signature(module.read_bytes())
                (tree / "modules" / f"{number:03}-{module.name}").write_bytes(stripped)
            (tree / "init").write_text(INIT.replace("@COMMAND@", self._command), encoding="utf-8")
            (tree / "init").chmod(0o755)
            os.mknod(tree / "dev" / "console", stat.S_IFCHR | 0o600, os.makedev(5, 1))
            names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
            archive = run("cpio", "--quiet", "-o", "-H", "newc", data="\n".join(names).encode(), cwd=tree)
        target = self._directory / "initramfs"
        target.write_bytes(archive)
        return target
