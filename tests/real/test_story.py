"""The main job in the lab: a machine boots from the disk that its DPU gives it, and its bytes are real."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from lab.client import Object
from lab.inventory import API_VERSION
from tests.real.guest import Guest
from tests.real.running_lab import NAMESPACE, RunningLab

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
WRITTEN_BYTES = 4 << 20
USER_DATA = "#cloud-config\nhostname: told-by-seed\nruncmd:\n  - [sh, -c, 'echo seeded > /root/seeded']\n"


def sha256_of_volume(file: Path, size_bytes: int, scratch: Path) -> str:
    raw = scratch / "volume.raw"
    command = ["qemu-img", "convert", "-U", "-O", "raw", str(file), str(raw)]
    subprocess.run(command, check=True, capture_output=True)
    with raw.open("rb") as stream:
        return hashlib.sha256(stream.read(size_bytes)).hexdigest()


async def test_a_machine_lives_from_create_to_delete(story_lab: RunningLab, tmp_path: Path) -> None:
    lab = story_lab
    assert lab.leftovers() == []
    lab.create("bm-01", userData=USER_DATA, rootDisk={"size": "128Mi"})
    status = lab.wait_running("bm-01")["status"]

    address = next(each["address"] for each in status["addresses"] if each["type"] == "InternalIP")
    assert lab.pings(address)
    assert 0 < status["deployment"]["ownSeconds"] < status["deployment"]["totalSeconds"]
    serial = next(each["serial"] for each in status["disks"] if each["name"] == "root")

    [root_file] = lab.volume_files()
    async with lab.guest("bm-01") as guest:
        await guest.ready()
        assert "told-by-seed" in await guest.run("hostname")
        assert "seeded" in await guest.run("cat /root/seeded")
        assert serial in await guest.run("cat /sys/block/vda/serial")
        written = await write_to_a_hot_plugged_disk(lab, guest)
        await guest.run("dd if=/dev/urandom of=/root/kept bs=64k count=16 && sync")
        kept = digest_in(await guest.run("sha256sum /root/kept"))

    [data_file] = lab.volume_files() - {root_file}
    assert sha256_of_volume(data_file, WRITTEN_BYTES, tmp_path) == written

    lab.patch("bm-01", {"restartedAt": "once"})
    lab.wait_phase("bm-01", "Restarting", 30)
    again = lab.wait_running("bm-01")["status"]
    assert next(each["serial"] for each in again["disks"] if each["name"] == "root") == serial
    async with lab.guest("bm-01") as guest:
        await guest.ready()
        assert kept in await guest.run("sha256sum /root/kept")

    lab.delete("bm-01")
    lab.wait_gone("bm-01")
    lab.api.delete(lab.api.path(API_VERSION, "Volume", "data", NAMESPACE))
    lab.wait(lambda: not lab.leftovers(), lab.leftovers)


async def write_to_a_hot_plugged_disk(lab: RunningLab, guest: Guest) -> str:
    """Plug a disk into the running machine, write it, unplug it; the digest of what was written."""
    metadata = {"name": "data", "namespace": NAMESPACE}
    lab.api.apply({"apiVersion": API_VERSION, "kind": "Volume", "metadata": metadata, "spec": {"size": "64Mi"}})
    lab.patch("bm-01", {"disks": [{"name": "data", "volumeRef": {"name": "data"}}]})
    attached = lab.wait(lambda: disk(lab, "data").get("state") == "Attached", lambda: disk(lab, "data"))
    serial = attached["serial"]
    seen = f"for i in $(seq 100); do (cd /sys/block; grep -l {serial} */serial) 2>/dev/null && break; sleep 0.2; done"
    device = "/dev/" + re.findall(r"(vd[a-z])/serial", await guest.run(seen))[-1]
    await guest.run(f"dd if=/dev/urandom of={device} bs=64k count={WRITTEN_BYTES >> 16} && sync")
    said = await guest.run(f"dd if={device} bs=64k count={WRITTEN_BYTES >> 16} 2>/dev/null | sha256sum")
    written = digest_in(said)
    lab.patch("bm-01", {"disks": []})
    lab.wait(lambda: len(lab.objects("VolumeAttachment")) == 1, lambda: lab.objects("VolumeAttachment"))
    await guest.run(f"! [ -b {device} ]")
    return written


def digest_in(output: str) -> str:
    """The SHA-256 digest that a command printed, told from the echo of the command."""
    return str(re.findall(r"\b[0-9a-f]{64}\b", output)[-1])


def disk(lab: RunningLab, name: str) -> Object:
    """One disk of the machine's status; empty when it is not there."""
    disks = lab.machine("bm-01").get("status", {}).get("disks", [])
    return next((each for each in disks if each["name"] == name), {})
