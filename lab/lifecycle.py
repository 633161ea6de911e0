"""Brings a lab up and takes it down. Both may be killed at any line and be run again."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import tomli_w
import yaml

from lab import (
    apt,
    inventory,
    kubeconfig,
    kvm,
    mounts,
    namespace,
    network,
    processes,
    programs,
    qemu,
    switch,
    topology,
    units,
)
from lab.ca import Authority
from lab.client import LabApi
from lab.image import debian, tiny
from lab.image.shell import run
from lab.pods import inventory as pod_inventory
from lab.pods import programs as pods
from lab.programs import Parts
from lab.settings import Acceleration, Extent, ImageKind, LabSettings, Layout
from lab.supervisor.control import Answer, SupervisorClient
from proto.errors import DpuError
from proto.reasons import Reason

READY_S = 90.0
INVENTORY_S = 60.0
IMAGE_BUILDERS = {ImageKind.TINY: tiny.ensure, ImageKind.DEBIAN: debian.ensure}
Say = Callable[[str], None]


def up(settings: LabSettings, say: Say, layout: Layout | None = None) -> Layout:
    """Bring the lab up; one that is up as asked is left running, and its inventory applied again.

    Args:
        settings: what it shall be.
        say: hears one sentence per step.
        layout: where files go; the usual place when None.

    Raises:
        DpuError: this machine cannot, another lab of that name is up, or a part does not become ready.
    """
    settings.check()
    layout = layout or Layout(settings.name)
    refuse_wrong_machine()
    client = SupervisorClient(layout.control_socket)
    running = client.alive()
    if running and layout.read_settings() != settings:
        remedy = f"run `bmctl lab down --name {settings.name}` first"
        raise DpuError(Reason.ALREADY_EXISTS, f"lab {settings.name} is up with other settings", remedy=remedy)
    if not running:
        prepare(settings, layout, say)
        say("starting the processes")
        start_supervisor(layout)
    answer = client.wait_ready(READY_S)
    if answer.error:
        remedy = f"see `bmctl lab logs --name {settings.name} UNIT`"
        raise DpuError(Reason.DEADLINE, f"not everything became ready: {answer.error}", remedy=remedy)
    if settings.extent is Extent.ALL:
        say("applying the inventory")
        apply_inventory(settings, layout)
    return layout


def refuse_wrong_machine() -> None:
    """Check what can be checked before anything is changed.

    Raises:
        DpuError: not root, or a program is missing.
    """
    if os.geteuid() != 0:
        raise DpuError(Reason.FORBIDDEN, "the lab makes network namespaces", remedy="run as root")
    missing = [name for name in ("ovsdb-server", "ovs-vswitchd", "ovsdb-tool") if apt.which(name) is None]
    if missing:
        raise DpuError(Reason.UNAVAILABLE, f"{', '.join(missing)} not installed", remedy="run `make deps`")


def prepare(settings: LabSettings, layout: Layout, say: Say) -> None:
    """Everything up to, but without, the first process."""
    end_orphans(layout)
    refuse_taken_port(settings)
    layout.write_settings(settings)
    say("making the networks")
    network.bring_up(topology.plan(settings))
    found = qemu.require()
    with_kvm = settings.accel is Acceleration.KVM or (settings.accel is Acceleration.AUTO and kvm.works(found))
    parts = Parts(settings, layout, Authority(layout.pki), found, with_kvm)
    for folder in units.folders(parts):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    say(f"preparing the {settings.image.value} image")
    place_image(settings, layout)
    write_configuration(parts)


def refuse_taken_port(settings: LabSettings) -> None:
    """Check that the API's port is free.

    Raises:
        DpuError: ALREADY_EXISTS; somebody listens there.
    """
    if settings.extent is not Extent.ALL:
        return
    try:
        socket.create_server(("127.0.0.1", settings.api_port)).close()
    except OSError as error:
        message = f"127.0.0.1:{settings.api_port} cannot be listened on: {error.strerror}"
        raise DpuError(Reason.ALREADY_EXISTS, message, field="--port", remedy="give another port") from error


def end_orphans(layout: Layout) -> None:
    """End the processes of a supervisor that was killed; hosts run on, their chassis adopts them."""
    remembered = layout.run / "units.pids"
    try:
        births = msgspec.json.decode(remembered.read_bytes(), type=list[processes.Birth])
    except (FileNotFoundError, msgspec.DecodeError):
        return
    processes.end(births)
    remembered.unlink(missing_ok=True)


def place_image(settings: LabSettings, layout: Layout) -> None:
    """Put the bootable image into the storage node's image folder."""
    target = programs.images(layout) / inventory.image_file(settings.image)
    if not target.exists():
        partial = target.with_suffix(".part")
        run("cp", "--sparse=always", "--reflink=auto", IMAGE_BUILDERS[settings.image](), partial)
        partial.replace(target)


def write_configuration(parts: Parts) -> None:
    """Write every file that a program of the lab reads."""
    layout = parts.layout
    for number in range(1, parts.settings.hosts + 1):
        switch.ensure_database(layout.state_of(f"dpu-{number}") / "conf.db", f"dpu-{number}")
        password = programs.bmc_password_file(layout, number)
        if not password.exists():
            password.touch(mode=0o600)
            password.write_text(secrets.token_urlsafe(18), encoding="utf-8")
    pods.ensure_databases(parts)
    for name, table in (programs.tables(parts) | pods.tables(parts)).items():
        file = layout.config_of(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(tomli_w.dumps(table), encoding="utf-8")
    layout.units_file.write_bytes(msgspec.json.format(msgspec.json.encode(units.supervisor_settings(parts))))
    kubeconfig.write(layout.kubeconfig, parts.settings.name, server_of(parts.settings), parts.authority)


def server_of(settings: LabSettings) -> str:
    """URL of the lab's API."""
    return f"https://127.0.0.1:{settings.api_port}"


def start_supervisor(layout: Layout) -> None:
    """Start the supervisor, detached from us; it answers when this returns.

    Raises:
        DpuError: it ended at once; its last words are in the message.
    """
    layout.logs.mkdir(parents=True, exist_ok=True)
    log = layout.logs / "supervisor.log"
    command = [sys.executable, "-m", "lab.supervisor", "--detach", str(layout.units_file)]
    with log.open("ab") as out:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False, cwd="/")
    if done.returncode != 0:
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise DpuError(Reason.INTERNAL, f"the supervisor did not start: {''.join(words)}", remedy=f"see {log}")


def apply_inventory(settings: LabSettings, layout: Layout) -> None:
    """Apply the lab's objects and wait until image, DPUs and hosts are usable."""
    authority = Authority(layout.pki)
    wanted = inventory.objects(settings, layout, authority.ca_file) + pod_inventory.objects(settings)
    layout.manifests.mkdir(parents=True, exist_ok=True, mode=0o700)
    (layout.manifests / "inventory.yaml").write_text(yaml.safe_dump_all(wanted, sort_keys=False), encoding="utf-8")
    with LabApi(server_of(settings), authority) as api:
        for each in wanted:
            api.apply(each)
        good = {"Image": {"Ready"}, "Dpu": {"Online"}, "BareMetalHost": {"Available", "Claimed"}}
        for each in wanted:
            if each["kind"] in good:
                path = api.path(each["apiVersion"], each["kind"], each["metadata"]["name"])
                api.wait_phase(path, good[each["kind"]], INVENTORY_S)


def down(name: str, layout: Layout | None = None, *, keep_logs: bool = False) -> bool:
    """Take the lab down and remove all that it left; returns whether anything was there.

    Args:
        name: of the lab.
        layout: where its files are; the usual place when None.
        keep_logs: leave the folder with the logs.
    """
    layout = layout or Layout(name)
    there = layout.state.exists() or layout.run.exists() or bool(namespace.of_lab(name))
    loops = mounts.devices_over(layout.run, mounts.backing_files())
    client = SupervisorClient(layout.control_socket)
    if client.alive():
        supervisor = processes.birth_of(client.status().pid)
        client.stop()
        processes.end([supervisor] if supervisor else [])
    end_orphans(layout)
    # What is left in the namespaces is the lab's: the hosts, which outlive their chassis on purpose.
    strangers = [processes.birth_of(pid) for pid in namespace.inhabitants(namespace.of_lab(name))]
    processes.end([each for each in strangers if each is not None])
    network.take_down(name)
    mounts.clear(layout.run, loops)
    shutil.rmtree(layout.run, ignore_errors=True)
    _remove_state(layout, keep_logs=keep_logs)
    return there


def _remove_state(layout: Layout, *, keep_logs: bool) -> None:
    if not layout.state.exists():
        return
    for entry in layout.state.iterdir():
        if not (keep_logs and entry == layout.logs):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if not any(layout.state.iterdir()):
        layout.state.rmdir()


def status(name: str, layout: Layout | None = None) -> Answer:
    """The lab's units.

    Raises:
        DpuError: NOT_FOUND when there is no such lab, UNAVAILABLE when its supervisor is away.
    """
    layout = layout or Layout(name)
    if layout.read_settings() is None:
        raise DpuError(Reason.NOT_FOUND, f"there is no lab {name}", remedy="start one with `bmctl lab up`")
    return SupervisorClient(layout.control_socket).status()


def all_labs(state_root: Path) -> list[str]:
    """Names of the labs on this machine."""
    return sorted(file.parent.name for file in state_root.glob("*/lab.json"))
