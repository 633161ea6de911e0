"""The host that a bus of FUSE files serves, for tests: a qemu-storage-daemon and the folder where disks appear."""

import ctypes
import os
import signal
from pathlib import Path

from tests.fakes.qsd import StorageDaemon

MNT_DETACH = 2


class FuseHost:
    """One host; it leaves no mount behind, however it ends.

    Args:
        directory: where disks appear; short, because the monitor's socket lies there too.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._daemon = StorageDaemon(directory, ".host")
        self.qmp = Path(self._daemon.qmp)
        """What the daemon's setting ``bus.qmp`` is by default."""

    def start(self) -> None:
        self._daemon.start()

    def kill(self) -> None:
        """kill -9: its files stay as dead mounts, as after a crash."""
        self._daemon.kill()

    def freeze(self) -> None:
        self._daemon.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._daemon.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._daemon.kill()
        libc = ctypes.CDLL(None, use_errno=True)
        mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
        for point in mounted:
            if Path(point).is_relative_to(self.directory):
                libc.umount2(os.fsencode(point), MNT_DETACH)
