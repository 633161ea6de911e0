"""Device information files: which PCI device a container's interface is.

Source: NPWG device information specification 1.1.0; the runtime names the file as ``CNIDeviceInfoFile``.
"""

import contextlib
import json
import os
from pathlib import Path

from proto.errors import DpuError
from proto.reasons import Reason

VERSION = "1.1.0"


class DeviceInfoFiles:
    """A DeviceFiles."""

    def write(self, path: str, pci_address: str) -> None:
        target, fresh = Path(path), _fresh(path)
        content = {"type": "pci", "version": VERSION, "pci": {"pci-address": pci_address}}
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            message = f"{path} cannot be written: {error.strerror}"
            remedy = "make its directory writable for dpu-daemon, or set cni.device_info = false"
            raise DpuError(
                Reason.UNAVAILABLE, message, field="runtimeConfig.CNIDeviceInfoFile", remedy=remedy
            ) from error

    def remove(self, path: str) -> None:
        for each in (Path(path), _fresh(path)):  # the second is what a killed daemon had half written
            with contextlib.suppress(OSError, ValueError):  # no file has a NUL in its name
                each.unlink(missing_ok=True)


def _fresh(path: str) -> Path:
    """Where its content is written first."""
    folder, name = os.path.split(path)
    return Path(folder) / f".{name}.new"
