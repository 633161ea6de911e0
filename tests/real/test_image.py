"""The tiny image, booted: firmware, loader, kernel, root, seed, network; without anything else of the lab."""

import contextlib
import io
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pycdlib
import pytest

from lab.apt import which
from lab.image import tiny
from lab.qemu import Qemu, find, require

BOOT_S = 300.0
OVMF = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find() is None or which("syslinux") is None, reason="needs QEMU >= 10 and syslinux (make deps)"),
]
USER_DATA = """\
#cloud-config
hostname: from-user-data
bootcmd:
- echo again >> /root/boots
write_files:
- path: /etc/deep/motd
  permissions: "0600"
  content: |
    100% "quoted" \\d
      indented
runcmd:
- echo ran >> /root/ran
- [sh, -c, "echo 'a, b' >> /root/ran"]
ntp: {enabled: true}
"""
NETWORK = """\
version: 2
ethernets:
  eth0:
    match: {macaddress: "52:54:00:aa:00:01"}
    addresses: [10.0.2.77/24]
    routes:
    - to: 0.0.0.0/0
      via: 10.0.2.2
    mtu: 1400
"""


def seed(path: Path, user_data: str) -> Path:
    """A NoCloud seed as the DPU makes it."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident="cidata", rock_ridge="1.09", joliet=3)
    files = {
        "meta-data": "instance-id: i-1\nlocal-hostname: bm-01\n",
        "user-data": user_data,
        "network-config": NETWORK,
    }
    for number, (name, text) in enumerate(files.items()):
        data = text.encode()
        iso.add_fp(io.BytesIO(data), len(data), f"/F{number}.;1", rr_name=name, joliet_path=f"/{name}")
    iso.write(str(path))
    iso.close()
    return path


@dataclass
class Machine:
    """A QEMU with the image's clone, driven over its serial console."""

    process: "subprocess.Popen[bytes]"
    console: socket.socket
    monitor: socket.socket
    seen: str = ""
    marks: int = field(default=0)

    def expect(self, pattern: str, timeout_s: float = BOOT_S) -> re.Match[str]:
        """Read the console until the pattern is there; what was before it is forgotten."""
        deadline = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self.seen)):
            assert time.monotonic() < deadline, f"{pattern!r} not in {self.seen[-800:]!r}"
            with contextlib.suppress(TimeoutError):
                data = self.console.recv(65536)
                assert data, f"the console ended: {self.seen[-800:]!r}"
                self.seen += data.decode(errors="replace")
        self.seen = self.seen[found.end() :]
        return found

    def log_in(self, host: str) -> None:
        """Wait for the shell and turn its echo off, so that what comes is what commands print."""
        self.expect(rf"root@{host}:~# ")
        self.console.sendall(b"stty -echo; PS1=; echo MK$((900+99))\n")
        self.expect("MK999\r?\n")

    def run(self, command: str) -> str:
        """What a command prints."""
        self.marks += 1
        self.console.sendall(f"{command}; echo MK{self.marks}\n".encode())
        return self.expect(rf"((?:.*\n)*?)MK{self.marks}\r?\n")[1].replace("\r", "")

    def tell(self, command: str) -> None:
        """A line for the monitor."""
        self.monitor.sendall(f"{command}\n".encode())


def connect(path: Path) -> socket.socket:
    deadline = time.monotonic() + 60
    while True:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(str(path))
        except OSError:
            client.close()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            client.settimeout(0.5)
            return client


@contextlib.contextmanager
def booted(qemu: Qemu, folder: Path, disk: list[str], firmware: list[str], *, size: str) -> Iterator[Machine]:
    """A machine from a clone of the image; ended with the block."""
    clone, cd = folder / "disk.qcow2", seed(folder / "seed.iso", USER_DATA)
    if not clone.exists():
        create = [str(qemu.img), "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(tiny.ensure()), str(clone), size]
        subprocess.run(create, check=True)
    paths = {name: folder / name for name in ("console", "monitor")}
    command = [str(qemu.system), *qemu.system_arguments, "-M", "q35", "-accel", "tcg", "-m", "256", *firmware]
    command += [
        "-nodefaults",
        "-display",
        "none",
        "-blockdev",
        f"qcow2,node-name=d,file.driver=file,file.filename={clone}",
    ]
    command += [*disk, "-drive", f"if=none,id=s,format=raw,readonly=on,file={cd}", "-device", "virtio-blk-pci,drive=s"]
    command += ["-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,mac=52:54:00:aa:00:01,romfile="]
    for name, path in paths.items():
        path.unlink(missing_ok=True)
        command += ["-chardev", f"socket,id={name},path={path},server=on,wait=off"]
    command += ["-serial", "chardev:console", "-mon", "chardev=monitor"]
    process = subprocess.Popen(command, env={**os.environ, **qemu.environment}, stderr=subprocess.DEVNULL)
    with process, connect(paths["console"]) as console, connect(paths["monitor"]) as monitor:
        try:
            yield Machine(process, console, monitor)
        finally:
            process.kill()


def test_the_image_is_built_once_and_kept() -> None:
    image = tiny.ensure()
    before = image.stat().st_mtime_ns
    assert tiny.ensure().stat().st_mtime_ns == before
    assert image.stat().st_blocks * 512 < 64 * 1024 * 1024


def test_a_clone_boots_by_bios_from_virtio_and_does_what_its_seed_says(tmp_path: Path) -> None:
    qemu = require()
    disk = ["-device", "virtio-blk-pci,drive=d,bootindex=1,serial=vol-1"]
    with booted(qemu, tmp_path, disk, [], size="64G") as machine:
        machine.expect("left alone: ntp")
        machine.log_in("from-user-data")
        assert machine.run("cat /etc/deep/motd") == '100% "quoted" \\d\n  indented\n'
        assert "-rw-------" in machine.run("ls -l /etc/deep")
        assert machine.run("cat /root/ran") == "ran\na, b\n"
        network = machine.run("ip addr show eth0; ip route; cat /sys/class/net/eth0/mtu")
        assert "inet 10.0.2.77/24" in network
        assert "default via 10.0.2.2 dev eth0" in network
        assert network.endswith("1400\n")
        assert int(machine.run("df -k / | tail -n 1 | awk '{print $2}'")) > 60 * 1024 * 1024
        assert machine.run("echo $(cat /sys/block/vda/serial)") == "vol-1\n"
        machine.run("sync")
        machine.tell("system_powerdown")
        assert machine.process.wait(timeout=60) == 0
    with booted(qemu, tmp_path, disk, [], size="64G") as machine:
        machine.log_in("from-user-data")
        assert machine.run("cat /root/ran") == "ran\na, b\n"
        assert machine.run("cat /root/boots") == "again\nagain\n"
        assert "inet 10.0.2.77/24" in machine.run("ip addr show eth0")


@pytest.mark.skipif(not OVMF.exists(), reason="needs ovmf (make deps)")
def test_a_clone_boots_by_uefi_from_nvme(tmp_path: Path) -> None:
    disk = ["-device", "nvme,drive=d,serial=vol-2,bootindex=1"]
    firmware = ["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}"]
    with booted(require(), tmp_path, disk, firmware, size="1G") as machine:
        machine.log_in("from-user-data")
        assert machine.run("test -d /sys/firmware/efi && echo yes") == "yes\n"
        assert "nvme0n1p2" in machine.run("cat /proc/partitions")
        assert machine.run("mke2fs -q /dev/ram0 2>/dev/null; sha256sum /dev/null | cut -c 1-8") == "e3b0c442\n"
