"""Real qemu-storage-daemons for tests, and plain clients to read and write through them."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from lab import qemu

START_TIMEOUT_S = 60.0
DIES_WITH_THE_TEST = ("setpriv", "--pdeathsig", "KILL")
FOLDER_BYTES = 60
"""Names of Unix sockets have 107 bytes at most; pytest's directories are long."""


class StorageDaemon:
    """One daemon as a child of the test.

    Args:
        directory: for its sockets and its log.
        name: tells daemons of one test apart.
    """

    def __init__(self, directory: Path, name: str) -> None:
        assert len(str(directory)) <= FOLDER_BYTES, "the sockets' names would be too long"
        self.qmp = str(directory / f"{name}.qmp")
        self.nbd = str(directory / f"{name}.nbd")
        self._log = directory / f"{name}.out"
        self._process: subprocess.Popen[bytes] | None = None
        found = qemu.find()
        self._program = found.storage_daemon if found else Path("/usr/bin/qemu-storage-daemon")
        self._environment = {**os.environ, **(found.environment if found else {})}

    def start(self) -> None:
        """Starts it, or starts it again after a kill: nothing of its configuration survives."""
        Path(self.qmp).unlink(missing_ok=True)
        # It writes this file when it listens; the socket's own file is there a moment before that.
        pidfile = Path(self.qmp).with_suffix(".pid")
        pidfile.unlink(missing_ok=True)
        chardev = f"socket,path={self.qmp},server=on,wait=off,id=qmp"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *DIES_WITH_THE_TEST,
                    str(self._program),
                    "--chardev",
                    chardev,
                    "--monitor",
                    "chardev=qmp",
                    "--pidfile",
                    str(pidfile),
                ],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(pidfile.exists)

    def kill(self) -> None:
        """kill -9; its socket files stay behind."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def send_signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def log(self) -> str:
        return self._log.read_text()


def unix_url(daemon: StorageDaemon, export: str) -> str:
    return f"nbd+unix:///{export}?socket={daemon.nbd}"


def qemu_io(url: str, *commands: str, read_only: bool = False) -> str:
    """Runs qemu-io commands on an export; raises when one fails or a pattern does not match."""
    command = [*_qemu_io(url, read_only=read_only), *(word for each in commands for word in ("-c", each))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    said = done.stdout + done.stderr
    if done.returncode or "verification failed" in said or "failed:" in said:
        raise AssertionError(said)
    return said


def start_qemu_io(url: str, *commands: str) -> "subprocess.Popen[str]":
    """The same in the background; `url` may be the options of a patient client."""
    # Line by line, so that a test sees an answer when it is given.
    command = [
        *DIES_WITH_THE_TEST,
        "stdbuf",
        "-oL",
        *_qemu_io(url, read_only=False),
        *(word for each in commands for word in ("-c", each)),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def next_line(process: "subprocess.Popen[str]") -> str:
    """Waits for the next line that it says."""
    assert process.stdout is not None
    return process.stdout.readline()


def all_lines(process: "subprocess.Popen[str]") -> str:
    """What it says from now on until it ends."""
    assert process.stdout is not None
    with process:
        return process.stdout.read()


def patient_options(daemon: StorageDaemon, export: str) -> str:
    """What the host's QEMU does: it waits for a daemon that went away."""
    return f"driver=nbd,server.type=unix,server.path={daemon.nbd},export={export},reconnect-delay=60,open-timeout=5"


def wait_for(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError("qemu-storage-daemon did not start")
        time.sleep(0.005)


def _qemu_io(url: str, *, read_only: bool) -> list[str]:
    found = qemu.find()
    program = found.img.with_name("qemu-io") if found else Path("/usr/bin/qemu-io")
    flags = ["-r"] if read_only else []
    source = ["--image-opts", url] if url.startswith("driver=") else ["-f", "raw", url]
    # Its default writes through, that is, flushes after each write; a host does not.
    return [str(program), "-t", "writeback", *flags, *source]
