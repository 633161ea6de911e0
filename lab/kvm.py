"""Whether KVM really runs a guest here; an open /dev/kvm proves nothing, some machines offer one that cannot."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

from lab.qemu import Qemu

FLAGS = {"vmx", "svm"}
TRY_S = 5.0
DEBUG_PORT = "0x402"  # SeaBIOS writes its log here


def cpu_has_virtualisation(cpuinfo: str) -> bool:
    """Whether the CPU's flags name Intel's or AMD's virtualisation."""
    for line in cpuinfo.splitlines():
        if line.startswith("flags"):
            return bool(FLAGS & set(line.partition(":")[2].split()))
    return False


def works(qemu: Qemu) -> bool:
    """Probe: the CPU's flags, the device, then a try that must bring the firmware to its first words."""
    if not cpu_has_virtualisation(Path("/proc/cpuinfo").read_text(encoding="utf-8")):
        return False
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and _firmware_speaks(qemu)


def _firmware_speaks(qemu: Qemu) -> bool:
    with tempfile.TemporaryDirectory(prefix="dpupool-kvm-") as folder:
        said = Path(folder) / "firmware.log"
        command = [str(qemu.system), *qemu.system_arguments, "-M", "q35", "-accel", "kvm", "-cpu", "host", "-m", "64"]
        command += ["-nodefaults", "-display", "none", "-debugcon", f"file:{said}"]
        command += ["-global", f"isa-debugcon.iobase={DEBUG_PORT}"]
        environment = {**os.environ, **qemu.environment}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as guest:
            try:
                return _appears(said, "SeaBIOS", guest)
            finally:
                guest.kill()


def _appears(file: Path, text: str, guest: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + TRY_S
    while time.monotonic() < deadline and guest.poll() is None:
        if file.exists() and text in file.read_text(encoding="utf-8", errors="replace"):
            return True
        time.sleep(0.05)
    return False
