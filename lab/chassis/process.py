"""The host's QEMU process: started in a session of its own, found again by its pid file's name, watched by pidfd."""

import asyncio
import contextlib
import os
import select
import shutil
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path

from lab.chassis.command import QMP_FD, SERIAL_FD, Boot, command_line, pid_file
from lab.chassis.config import ChassisConfig, Firmware
from proto.errors import DpuError
from proto.reasons import Reason

GRACE_S = 3.0  # QEMU drains its disks at SIGTERM; a disk whose DPU is away would hold it for a minute


@dataclass
class QemuProcess:
    """A running QEMU; ours by birth or adopted.

    Attributes:
        pidfd: refers to this very process, whatever happens to the number.
    """

    pid: int
    pidfd: int
    _gone: asyncio.Event = field(default_factory=asyncio.Event)

    def watch(self) -> None:
        """Begin to notice the process' end; call once, in the loop."""
        asyncio.get_running_loop().add_reader(self.pidfd, self._ended)

    def _ended(self) -> None:
        self.forget()
        with contextlib.suppress(ChildProcessError):  # adopted: whoever inherited it reaps it
            os.waitpid(self.pid, os.WNOHANG)
        self._gone.set()

    def forget(self) -> None:
        """Stop watching; the process goes on."""
        if self.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1

    @property
    def alive(self) -> bool:
        """Whether its end has not been noticed."""
        return not self._gone.is_set()

    async def wait(self) -> None:
        """Return when the process has ended."""
        await self._gone.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process has ended."""
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    async def end(self, grace_s: float = GRACE_S) -> None:
        """End the process: politely, then at once."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.wait()


def qmp_path(config: ChassisConfig) -> Path:
    """The QMP socket; its one client is the chassis."""
    return config.run_path / "qmp.sock"


def serial_path(config: ChassisConfig) -> Path:
    """The serial port's socket; its one client is the console hub."""
    return config.run_path / "serial.sock"


def spawn(config: ChassisConfig, boot: Boot) -> QemuProcess:
    """Start QEMU; its sockets can be connected to at once, before it has even begun to look at them.

    Raises:
        DpuError: UNAVAILABLE when the program cannot be started.
    """
    _prepare_files(config)
    environment = dict(os.environ)
    if config.qemu.module_dir:
        environment["QEMU_MODULE_DIR"] = config.qemu.module_dir
    words = command_line(config, boot)
    if config.qemu.netns:
        words = ["nsenter", f"--net={config.qemu.netns}", "--", *words]
    with _listen(qmp_path(config)) as qmp, _listen(serial_path(config)) as serial:
        # numbers far above the targets, lest one dup2 overwrite the source of another
        sources = [os.dup2(sock.fileno(), 100 + index, inheritable=False) for index, sock in enumerate((qmp, serial))]
        try:
            pid = os.posix_spawnp(
                words[0],
                words,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(log_path(config)), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                    (os.POSIX_SPAWN_DUP2, sources[0], QMP_FD),
                    (os.POSIX_SPAWN_DUP2, sources[1], SERIAL_FD),
                ],
                setsid=True,
            )
        except OSError as failure:
            raise DpuError(Reason.UNAVAILABLE, f"cannot start {words[0]}: {failure}", field="qemu.binary") from failure
        finally:
            for source in sources:
                os.close(source)
    return _open(pid)


def _open(pid: int) -> QemuProcess:
    process = QemuProcess(pid, os.pidfd_open(pid))
    process.watch()
    return process


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(4)
    return listener


def _prepare_files(config: ChassisConfig) -> None:
    variables = config.run_path / "ovmf-vars.fd"
    if config.qemu.firmware is Firmware.OVMF and not variables.exists():
        fresh = variables.with_suffix(".new")
        shutil.copyfile(config.qemu.ovmf_vars, fresh)
        fresh.replace(variables)


def log_path(config: ChassisConfig) -> Path:
    """Where QEMU's own messages go."""
    return config.run_path / "qemu.log"


def last_words(config: ChassisConfig) -> str:
    """What QEMU said before it ended, on one line."""
    try:
        text = log_path(config).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return " ".join(text.split())[-500:]


def find(config: ChassisConfig) -> QemuProcess | None:
    """The running QEMU of this host, if there is one.

    Every process is looked at, not the pid file alone: a QEMU that was started an instant before its chassis
    was killed has not written the file yet.
    """
    mark = pid_file(config).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if mark not in words or b"-pidfile" not in words:
                continue
            process = QemuProcess(int(entry.name), os.pidfd_open(int(entry.name)))
        except OSError:
            continue  # it ended while we looked
        if select.select([process.pidfd], [], [], 0)[0]:
            os.close(process.pidfd)  # ended, and not yet reaped by its parent
            continue
        process.watch()
        return process
    return None
