"""Runs the programs that make file systems and images; what fails says its own words."""

import subprocess
from pathlib import Path

from proto.errors import DpuError
from proto.reasons import Reason

TIMEOUT_S = 600


class ImageError(DpuError):
    """An image could not be made."""

    def __init__(self, message: str, *, remedy: str = "run `make deps`, then try again") -> None:
        super().__init__(Reason.INTERNAL, message, remedy=remedy)


def run(*words: str | Path, data: bytes | None = None, cwd: Path | None = None) -> bytes:
    """Run a program to its end and return its standard output.

    Raises:
        ImageError: it is missing or failed.
    """
    command = [str(word) for word in words]
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False, cwd=cwd, timeout=TIMEOUT_S)
    except FileNotFoundError as error:
        raise ImageError(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise ImageError(f"{' '.join(command[:4])} failed: {said}")
    return done.stdout
