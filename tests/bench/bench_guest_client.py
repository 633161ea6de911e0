"""What a storage client inside the host costs its CPU, against a disk that the DPU emulates.

Run: ``python -m pytest tests/bench/bench_guest_client.py -s``. One guest of the lab reads the same number of 4 KiB
blocks, direct, from a disk of its DPU and from an NBD device whose client runs in the guest itself over its NIC.
Printed are busy jiffies of the guest per 1,000 reads, its kernel's storage threads, and the ratio.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import namespace, qemu
from lab.client import Object
from lab.image import kernel
from lab.inventory import API_VERSION
from tests.real.guest import Guest
from tests.real.running_lab import NAMESPACE, RunningLab, lab_name, running_lab

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]
READS = 4000
ROUNDS = 3
PORT = 10999
GATEWAY = "10.77.0.1"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RunningLab]:
    client = shutil.which("nbd-client", path="/usr/sbin:/usr/bin")
    assert client, "apt-get install nbd-client"
    with running_lab(lab_name("b")) as one, foreign_target(one, tmp_path):
        put_tools_on_a_disk(one, Path(client), tmp_path)
        yield one


async def test_guest_cpu_per_read(lab: RunningLab) -> None:
    lab.create("bm", disks=[{"name": "tools", "volumeRef": {"name": "tools"}}, {"name": "data", "size": "64Mi"}])
    disks = {disk["name"]: disk["serial"] for disk in lab.wait_running("bm")["status"]["disks"]}
    async with lab.guest("bm") as guest:
        await guest.ready()
        emulated = await device(guest, disks["data"])
        tools = await device(guest, disks["tools"])
        await guest.run(f"mkdir -p /tools && mount {tools} /tools && insmod /tools/nbd.ko && /tools/start")
        costs = [(await busy(guest, emulated), await busy(guest, "/dev/nbd0")) for _ in range(ROUNDS)]
        said = await guest.run("echo T$(ps | grep -cE '[n]bd-client|[k]nbd|[n]bd0')")
        threads = re.findall(r"^T(\d+)", said.replace("\r", ""), re.MULTILINE)[-1]
    print()
    for own, inside in costs:
        print(
            f"  per 1,000 reads: DPU's disk {own:6.1f} jiffies, guest's own client {inside:6.1f}, {inside / own:4.1f} x"
        )
    print(f"  processes and threads of the guest's own client: {threads}; of the DPU's disk: 0")


async def device(guest: Guest, serial: str) -> str:
    """Block device with that serial number."""
    said = await guest.run(f"(cd /sys/block; grep -l {serial} */serial)")
    return "/dev/" + str(re.findall(r"(vd[a-z])/serial", said)[-1])


async def busy(guest: Guest, path: str) -> float:
    """Jiffies in which the guest was not idle, per 1,000 direct reads of 4 KiB."""
    count = "awk '/^cpu /{print \"J\" $2+$3+$4+$7+$8}' /proc/stat"
    said = await guest.run(
        f"{count}; dd if={path} of=/dev/null bs=4k count={READS} iflag=direct 2>/dev/null; {count}", 240
    )
    before, after = (int(each) for each in re.findall(r"^J(\d+)", said.replace("\r", ""), re.MULTILINE))
    return (after - before) * 1000 / READS


def put_tools_on_a_disk(lab: RunningLab, client: Path, scratch: Path) -> None:
    """An Image and a Volume with an NBD client, its libraries and the kernel's module."""
    tree = scratch / "tools"
    tree.mkdir()
    module = kernel.ensure().module("nbd")
    assert module is not None
    libraries = re.findall(
        r"(/\S+) \(0x", subprocess.run(["ldd", client], capture_output=True, text=True, check=True).stdout
    )
    for file in (client, module, *map(Path, libraries)):
        shutil.copy(file, tree / file.name)
    start = f"/tools/ld-linux-x86-64.so.2 --library-path /tools /tools/nbd-client -N disk {GATEWAY} {PORT} /dev/nbd0"
    (tree / "start").write_text(f"#!/bin/sh\nexec {start}\n")
    (tree / "start").chmod(0o755)
    image = lab.layout.state_of("storage") / "images" / "tools.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image, "64M"], check=True)
    apply(lab, "Image", {"name": "tools"}, {"source": "tools.img", "format": "raw"})
    source = {"imageRef": {"name": "tools"}}
    apply(lab, "Volume", {"name": "tools", "namespace": NAMESPACE}, {"size": "64Mi", "source": source})


def apply(lab: RunningLab, kind: str, metadata: Object, spec: Object) -> None:
    lab.api.apply({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec})


@contextmanager
def foreign_target(lab: RunningLab, scratch: Path) -> Iterator[None]:
    """A storage target on the machines' own network, as it would be without a DPU."""
    file = scratch / "foreign.img"
    with file.open("wb") as stream:
        stream.truncate(64 << 20)
    found = qemu.require()
    command = [
        *(str(found.storage_daemon), "--blockdev", f"driver=file,filename={file},node-name=disk"),
        *("--nbd-server", f"addr.type=inet,addr.host={GATEWAY},addr.port={PORT}"),
        *("--export", "type=nbd,id=disk,node-name=disk,name=disk"),
    ]
    with namespace.entered(f"{lab.settings.name}-fab"), tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=dict(found.environment), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()
