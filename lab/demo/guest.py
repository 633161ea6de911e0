"""Asks the demo's machine about itself, from the fabric: over the DPU's switch, as any other machine would."""

import http.client
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lab import namespace
from proto.errors import DpuError
from proto.reasons import Reason

PORT = 8080
TIMEOUT_S = 10.0
POLL_S = 0.2
Seen = TypeVar("Seen")


@dataclass(frozen=True)
class GuestDisk:
    """A disk as the guest's kernel sees it."""

    name: str
    size_bytes: int
    serial: str


class Guest:
    """The machine, seen from a namespace.

    Args:
        netns: namespace to ask from.
        address: numeric address of the machine.
    """

    def __init__(self, netns: str, address: str) -> None:
        self._netns = netns
        self._address = address

    def ping(self) -> bool:
        """Whether one echo request is answered within a second."""
        command = ["busybox", "ping", "-c", "1", "-W", "1", self._address]
        with namespace.entered(self._netns):
            return subprocess.run(command, capture_output=True, check=False, timeout=TIMEOUT_S).returncode == 0

    def disks(self) -> list[GuestDisk]:
        """What disks it has."""
        rows = (line.split(" ") for line in self._ask("disks").splitlines())
        return [GuestDisk(row[0], int(row[1]), row[2]) for row in rows if len(row) == 3]

    def write(self, disk: str) -> str:
        """Let it fill the first MiB of a disk with random bytes; returns their SHA-256."""
        return self._ask(f"write?{disk}").strip()

    def boot(self) -> tuple[str, str]:
        """Host name, and an id that is another one after each boot."""
        name, boot_id = self._ask("boot").split()
        return name, boot_id

    def _ask(self, path: str) -> str:
        """One request.

        Raises:
            OSError: no answer; HTTPException: half an answer.
        """
        connection = http.client.HTTPConnection(self._address, PORT, timeout=TIMEOUT_S)
        try:
            with namespace.entered(self._netns):
                connection.connect()
            connection.request("GET", f"/cgi-bin/{path}")
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise http.client.HTTPException(f"{path}: {response.status} {response.reason}")
        return body


def wait_for(look: Callable[[], Seen], good: Callable[[Seen], bool], timeout_s: float, wanted: str) -> Seen:
    """Look again and again, past refused connections, until it is good.

    Raises:
        DpuError: DEADLINE, with what was seen last.
    """
    deadline = time.monotonic() + timeout_s
    last = "nothing"
    while time.monotonic() < deadline:
        try:
            seen = look()
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        else:
            if good(seen):
                return seen
            last = str(seen)
        time.sleep(POLL_S)
    message = f"{wanted} was not seen within {timeout_s:g} s; last seen: {last}"
    raise DpuError(Reason.DEADLINE, message, remedy="see `bmctl console bm-01`")
