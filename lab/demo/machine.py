"""The demo's machine as an API object: its manifest, its timeline as it grows, its disks."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lab.client import LabApi, Object
from lab.inventory import API_VERSION
from proto.errors import DpuError
from proto.reasons import Reason

MANIFEST = Path(__file__).parent / "bm-01.yaml"
NAMESPACE = "default"
NAME = "bm-01"
PATH = LabApi.path(API_VERSION, "BareMetalMachine", NAME, NAMESPACE)
POLL_S = 0.05
DATA_DISK = "data"


def manifest(image: str, root_size: str) -> Object:
    """The machine wanted, on another image than the file says."""
    wanted: Object = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    wanted["spec"] |= {"image": image, "rootDisk": {"size": root_size}}
    return wanted


def watch_until(api: LabApi, phase: str, timeout_s: float, *, skip: int = 0) -> Iterator[list[dict[str, Any]]]:
    """The timeline's entries from the ``skip``-th on, each time they changed, until the machine is in the phase.

    Raises:
        DpuError: DEADLINE, or INTERNAL when the machine failed; with its message.
    """
    deadline = time.monotonic() + timeout_s
    before: list[dict[str, Any]] = []
    while True:
        status = (api.get(PATH) or {}).get("status", {})
        entries = status.get("timeline", [])[skip:]
        if entries != before:
            before = entries
            yield entries
        if status.get("phase") == phase and entries and entries[-1]["phase"] == phase:
            return
        if status.get("phase") == "Failed":
            raise DpuError(Reason.INTERNAL, f"{NAME} failed: {status.get('message', '')}")
        if time.monotonic() > deadline:
            message = f"{NAME} is {status.get('phase', 'new')} after {timeout_s:g} s: {status.get('message', '')}"
            raise DpuError(Reason.DEADLINE, message, remedy=f"see `bmctl describe machine {NAME}`")
        time.sleep(POLL_S)


def status(api: LabApi) -> dict[str, Any]:
    """What the API says of the machine now."""
    found: dict[str, Any] = (api.get(PATH) or {}).get("status", {})
    return found


def disk(api: LabApi, name: str) -> dict[str, Any] | None:
    """A disk of the machine, as its status tells; None when it has none of that name."""
    return next((each for each in status(api).get("disks", []) if each["name"] == name), None)
