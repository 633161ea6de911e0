"""Programs that have no system call in their place: arguments are lists, every run has a deadline."""

import asyncio
import contextlib
import os
from dataclasses import dataclass

from proto.errors import DpuError
from proto.reasons import Reason

DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
"""A formatter that outlived a killed plug-in would write under the feet of the next."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAST_WORDS = 400


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    code: int
    output: str
    said: str

    @property
    def words(self) -> str:
        """The last of what it said, for a message."""
        return " ".join((self.said.strip() or self.output.strip()).split())[-LAST_WORDS:]


async def run(*words: str, timeout_s: float) -> Ended:
    """Run a program to its end.

    Raises:
        DpuError: UNAVAILABLE, it is not installed; DEADLINE, it was stopped.
    """
    environment = {**os.environ, "PATH": PATH, "LC_ALL": "C"}
    process = await asyncio.create_subprocess_exec(
        *DIES_WITH_US,
        *words,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, said = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError as error:
        raise DpuError(
            Reason.DEADLINE, f"{words[0]} was stopped after {timeout_s:g} s", remedy="look whether the disk answers"
        ) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    code = process.returncode if process.returncode is not None else -1
    if code == 127 and "setpriv" in said.decode(errors="replace"):
        raise DpuError(Reason.UNAVAILABLE, f"{words[0]} is not installed on this host", remedy="install it")
    return Ended(code, output.decode(errors="replace"), said.decode(errors="replace"))
