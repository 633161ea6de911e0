"""The chapters, in order. Each step is shown only after it was seen from outside the program that did it."""

import hashlib
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from lab import inventory, lifecycle, qemu
from lab.ca import Authority
from lab.client import LabApi
from lab.demo import machine, remains
from lab.demo.guest import Guest, GuestDisk, wait_for
from lab.demo.screen import Screen, Step
from lab.inventory import API_VERSION
from lab.settings import ImageKind, LabSettings, Layout
from proto.errors import DpuError
from proto.reasons import Reason

BOOT_S = {ImageKind.TINY: 90.0, ImageKind.DEBIAN: 300.0}
ROOT_SIZE = {ImageKind.TINY: "1Gi", ImageKind.DEBIAN: "4Gi"}
CHANGE_S = 60.0
DATA_SIZE_BYTES = 256 * 1024 * 1024
MIB = 1024 * 1024
TITLES = {
    "Pending": "machine accepted",
    "Allocating": "server and address chosen",
    "Cloning": "volume cloned copy-on-write",
    "Attaching": "attached to the DPU over the network",
    "Plugging": "NIC plugged in OVS",
    "PoweringOn": "powered on over Redfish",
    "Booting": "firmware boots from that disk",
    "Running": "ping answered through OVS",
    "Restarting": "restarting",
    "Stopping": "stopping",
}


class Story:
    """One telling.

    Args:
        settings: of the lab.
        screen: where it is shown.
    """

    def __init__(self, settings: LabSettings, screen: Screen) -> None:
        self._settings = settings
        self._screen = screen
        self._layout = Layout(settings.name)

    def tell(self) -> str:
        """All chapters; returns the last line.

        Raises:
            DpuError: something did not happen in time, or something was left behind.
        """
        self._bring_lab_up()
        with LabApi(lifecycle.server_of(self._settings), Authority(self._layout.pki)) as api:
            before = remains.look(self._settings, self._layout, qemu.require(), api)
            verdict = self._deploy(api)
            guest = self._meet(api)
            self._plug_disk(api, guest)
            self._restart(api, guest)
            self._delete(api, before)
        return verdict

    def _bring_lab_up(self) -> None:
        self._screen.chapter("The lab: storage node, DPU with OVS, host, BMC, coordinator; each in its own namespace")
        opened: list[Step] = []

        def say(sentence: str) -> None:
            if opened:
                self._screen.close(opened[-1])
            opened.append(self._screen.open(sentence))

        try:
            if lifecycle.down(self._settings.name):
                say("removed an earlier demo")
            lifecycle.up(self._settings, say)
        except BaseException:
            if opened:
                self._screen.close(opened[-1], failed=True)
            raise
        if opened:
            self._screen.close(opened[-1])

    def _deploy(self, api: LabApi) -> str:
        self._screen.chapter(f"kubectl apply -f {machine.MANIFEST.name}")
        image = inventory.image_name(self._settings.image)
        api.apply(machine.manifest(image, ROOT_SIZE[self._settings.image]))
        self._show_timeline(api, skip=0)
        took = machine.status(api).get("deployment", {})
        verdict = f"deployed {machine.NAME} in {took['totalSeconds']:.1f} s (own part {took['ownSeconds']:.2f} s)"
        self._screen.say(verdict, "bold green")
        return verdict

    def _show_timeline(self, api: LabApi, *, skip: int) -> None:
        steps: dict[int, Step] = {}
        for entries in machine.watch_until(api, "Running", BOOT_S[self._settings.image], skip=skip):
            for index, entry in enumerate(entries):
                step = steps.get(index)
                if step is None:
                    step = steps[index] = self._screen.open(TITLES.get(entry["phase"], entry["phase"]))
                step.detail = entry.get("message", "")
                if step.is_open and (entry.get("finishedAt") or entry["phase"] == "Running"):
                    step.seconds = entry.get("seconds", 0.0)
                    self._screen.close(step)

    def _meet(self, api: LabApi) -> Guest:
        self._screen.chapter("Inside the machine, asked from the fabric")
        address = str(machine.status(api)["addresses"][0]["address"])
        guest = Guest(f"{self._settings.name}-fab", address)
        with self._screen.step(f"ping {address}"):
            wait_for(guest.ping, bool, CHANGE_S, f"an answer from {address}")
        with self._screen.step("cloud-init applied") as step:
            name, _ = wait_for(guest.boot, bool, BOOT_S[self._settings.image], "cloud-init's end")
            step.detail = f"host name {name}; its HTTP service, written by the user data, answers"
        with self._screen.step("the disk has the DPU's identity") as step:
            root = self._disk_seen(api, guest, "root")
            step.detail = f"{root.name}, {root.size_bytes // MIB} MiB, serial {root.serial}"
        return guest

    def _disk_seen(self, api: LabApi, guest: Guest, name: str) -> GuestDisk:
        """The disk of that name as the guest sees it, found by the serial number that the API tells."""
        serial = wait_for(lambda: (machine.disk(api, name) or {}).get("serial", ""), bool, CHANGE_S, f"disk {name}")
        seen = wait_for(
            guest.disks, lambda disks: any(each.serial == serial for each in disks), CHANGE_S, f"disk {serial}"
        )
        return next(each for each in seen if each.serial == serial)

    def _plug_disk(self, api: LabApi, guest: Guest) -> None:
        self._screen.chapter("A second disk, plugged into the running machine and taken out again")
        files_before = self._volume_files()
        volume = {"apiVersion": API_VERSION, "kind": "Volume", "metadata": {"name": "demo", "namespace": "default"}}
        api.apply(volume | {"spec": {"size": DATA_SIZE_BYTES}})
        with self._screen.step("hot-plugged") as step:
            api.merge(machine.PATH, {"spec": {"disks": [{"name": machine.DATA_DISK, "volumeRef": {"name": "demo"}}]}})
            seen = self._disk_seen(api, guest, machine.DATA_DISK)
            step.detail = f"the guest's kernel sees {seen.name}, {seen.size_bytes // MIB} MiB, serial {seen.serial}"
        with self._screen.step("1 MiB written in the guest") as step:
            digest = guest.write(seen.name)
            step.detail = f"sha256 {digest[:16]}…"
        with self._screen.step("unplugged") as step:
            api.merge(machine.PATH, {"spec": {"disks": []}})
            wait_for(
                guest.disks, lambda disks: all(each.serial != seen.serial for each in disks), CHANGE_S, "its absence"
            )
            wait_for(lambda: machine.disk(api, machine.DATA_DISK) is None, bool, CHANGE_S, "the end of the attachment")
            step.detail = "gone from the guest"
        with self._screen.step("the bytes are on the storage node") as step:
            self._compare(self._volume_files() - files_before, digest)
            step.detail = f"same sha256 in the volume's file, {digest[:16]}…"
        api.delete(api.path(API_VERSION, "Volume", "demo", "default"))

    def _volume_files(self) -> set[Path]:
        return set((self._layout.state_of("storage") / "volumes").glob("*.qcow2"))

    def _compare(self, files: set[Path], digest: str) -> None:
        """Check that the first MiB of the volume's own file is what the guest wrote."""
        if len(files) != 1:
            raise DpuError(Reason.INTERNAL, f"{len(files)} new files on the storage node instead of the volume's one")
        said = first_mib_digest(next(iter(files)))
        if said != digest:
            raise DpuError(Reason.DATA_LOSS, f"the guest wrote {digest}, the storage node has {said}")

    def _restart(self, api: LabApi, guest: Guest) -> None:
        self._screen.chapter("Restart")
        _, before = guest.boot()
        skip = len(machine.status(api)["timeline"])
        now = datetime.now(tz=UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        api.merge(machine.PATH, {"spec": {"restartedAt": now}})
        self._show_timeline(api, skip=skip)
        with self._screen.step("another boot, the same disk") as step:
            seen = wait_for(guest.boot, lambda boot: boot[1] != before, BOOT_S[self._settings.image], "another boot")
            step.detail = f"{seen[0]}, boot id {before[:8]}… -> {seen[1][:8]}…"

    def _delete(self, api: LabApi, before: remains.Found) -> None:
        self._screen.chapter(f"kubectl delete bmm {machine.NAME}")
        with self._screen.step("deleted"):
            api.delete(machine.PATH)
            wait_for(lambda: api.get(machine.PATH) is None, bool, CHANGE_S, f"the end of {machine.NAME}")
        with self._screen.step("nothing is left") as step:
            found = qemu.require()
            after = wait_for(
                lambda: remains.left(before, remains.look(self._settings, self._layout, found, api)),
                lambda left: not left,
                CHANGE_S,
                "a clean lab",
            )
            step.detail = f"looked for: {', '.join(before)}" + "".join(after)


def first_mib_digest(volume: Path) -> str:
    """SHA-256 of the first MiB of a volume, read past the daemon that has it open."""
    with tempfile.NamedTemporaryFile() as out:
        found = qemu.require()
        source = f"driver=qcow2,file.driver=file,file.filename={volume}"
        command = [str(found.img), "dd", "-U", "--image-opts", f"if={source}", f"of={out.name}", "bs=1M", "count=1"]
        subprocess.run(command, check=True, capture_output=True, timeout=CHANGE_S)
        return hashlib.sha256(Path(out.name).read_bytes()).hexdigest()
