"""Whether a process that was spoken to still lives, though it does not answer; never another one of that number."""

import contextlib
import os
import select


class HostProcess:
    """Holds on to one process by a pidfd."""

    def __init__(self) -> None:
        self._pid = 0
        self._handle: int | None = None

    def remember(self, pid: int) -> None:
        """This is the one; 0 is none."""
        if pid == self._pid and self.lives():
            return
        self.forget()
        if pid > 0:
            with contextlib.suppress(ProcessLookupError):
                self._handle, self._pid = os.pidfd_open(pid), pid

    def lives(self) -> bool:
        """Whether the remembered process has not ended."""
        if self._handle is None:
            return False
        ended = select.poll()
        ended.register(self._handle, select.POLLIN)
        return not ended.poll(0)

    def forget(self) -> None:
        """Let go of it."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle, self._pid = None, 0
