"""The two consoles: results go to standard output, progress and errors to standard error."""

import sys
from functools import cache
from typing import TextIO

from rich.console import Console
from rich.text import Text

GOOD = {
    "Running",
    "Available",
    "Online",
    "Ready",
    "Attached",
    "Bound",
    "On",
    "True",
    "Claimed",
    "Plugged",
    "Up",
    "Hardware",
}
BAD = {"Failed", "Unhealthy", "Offline", "Degraded", "Warning", "Software"}
QUIET = {"Stopped", "Off", "None", "Normal", "NotAsked", ""}
WORKING = {
    "Pending", "Allocating", "Cloning", "Attaching", "Plugging", "PoweringOn", "Booting", "Stopping", "Restarting",
    "Deleting", "Creating", "Exporting", "Detaching", "Resizing", "Releasing", "Unknown", "Partial",
}  # fmt: skip
STATUS_COLUMNS = {"phase", "power", "status", "type", "state", "ready", "where"}


@cache
def _console(stream: TextIO) -> Console:
    return Console(file=stream, highlight=False, soft_wrap=True, emoji=False, markup=False)


def out() -> Console:
    """Console of standard output."""
    return _console(sys.stdout)


def err() -> Console:
    """Console of standard error."""
    return _console(sys.stderr)


def tint(word: str) -> str:
    """Style of a state's word: green when good, red when bad, yellow while it changes, dim when quiet."""
    if word in GOOD:
        return "green"
    if word in BAD:
        return "red"
    if word in WORKING:
        return "yellow"
    return "dim" if word in QUIET else ""


def state(word: str) -> Text:
    """A state's word in its colour."""
    return Text(word, style=tint(word))
