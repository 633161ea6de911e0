"""Device information files of a device plug-in, which Multus hands on to the pod's network status.

Source: "Device Information Specification" of the Network Plumbing Working Group, version 1.1.0, section of device
plug-ins: one file for each device, named by resource and device, written before Allocate answers.
"""

import contextlib
import re
from pathlib import Path

import msgspec

from dpu_daemon.model.vf import VfSeen
from proto.errors import DpuError
from proto.reasons import Reason

FOLDER = Path("/var/run/k8s.cni.cncf.io/devinfo")
VERSION = "1.1.0"
_END = "-device.json"
_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
"""What a device's part of a name must be: a resource's name may begin like another's."""


class DeviceNoteFiles:
    """Files of one resource.

    Args:
        folder: of all device information; the specification's, except in tests.
        resource: name under which kubelet counts the devices.
    """

    def __init__(self, folder: Path, resource: str) -> None:
        self._folder = folder / "dp"
        self._begin = resource.replace("/", "-") + "-"

    def put(self, function: VfSeen) -> None:
        """Write a function's file, atomically; an emulated one has no PCI address to tell.

        Raises:
            DpuError: UNAVAILABLE naming the file.
        """
        if not function.pci_address:
            return
        pci = {"pci-address": function.pci_address}
        if function.pf_pci_address:
            pci["pf-pci-address"] = function.pf_pci_address
        path, partial = self._path(function.device_id), self._partial(function.device_id)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(msgspec.json.encode({"type": "pci", "version": VERSION, "pci": pci}))
            partial.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            message = f"{path} cannot be written: {error.strerror}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="let the daemon write there") from error

    def drop(self, device_id: str) -> None:
        """Remove a device's file; one that cannot be removed tells nothing wrong."""
        for path in (self._path(device_id), self._partial(device_id)):
            with contextlib.suppress(OSError):
                path.unlink()

    def device_ids(self) -> frozenset[str]:
        """Devices that have a file."""
        names = (path.name for path in self._folder.glob(f"*{_END}"))
        found = (name[len(self._begin) : -len(_END)] for name in names if name.startswith(self._begin))
        return frozenset(device_id for device_id in found if _PCI.fullmatch(device_id))

    def _path(self, device_id: str) -> Path:
        return self._folder / f"{self._begin}{device_id}{_END}"

    def _partial(self, device_id: str) -> Path:
        """Where its content is written first; of one name, so that a killed daemon leaves one at most."""
        return self._folder / f".{self._begin}{device_id}{_END}.new"
