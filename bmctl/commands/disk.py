"""bmctl disk attach and detach."""

from time import monotonic

import click

from bmctl import screen
from bmctl.api import open_api
from bmctl.completing import names_of
from bmctl.goals import given, taken
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import ATTACHMENT, MACHINE, VOLUME
from bmctl.waiting import wait_for, wait_until_gone, waitable

LEAST_WAIT_S = 0.1


@click.group()
def disk() -> None:
    """Attach and detach data disks of a machine, while it runs."""


@disk.command()
@click.argument("machine", shell_complete=names_of(MACHINE))
@click.argument("name")
@click.option("--size", help="Size of a new volume, such as 10Gi; it lives and dies with the machine.")
@click.option("--volume", shell_complete=names_of(VOLUME), help="An existing volume instead; it outlives the machine.")
@click.option("--protocol", type=click.Choice(["virtio-blk", "nvme"]), help="How the host sees the disk.")
@click.option("--read-only", is_flag=True, help="Refuse writes of the host.")
@waitable
@namespaced
@current
def attach(
    invocation: Invocation,
    machine: str,
    name: str,
    size: str | None,
    volume: str | None,
    protocol: str | None,
    read_only: bool,
    wait: bool,
    timeout_s: float,
) -> None:
    """Give a machine a data disk called NAME."""
    if (size is None) == (volume is None):
        raise click.UsageError("give --size for a new volume, or --volume for an existing one")
    wanted = {
        "name": name,
        "size": size,
        "volumeRef": {"name": volume} if volume else None,
        "protocol": protocol,
        "readOnly": read_only or None,
    }
    with open_api(invocation) as api:
        asked = api.act("POST", machine, "disks", {key: value for key, value in wanted.items() if value is not None})
        if wait:
            wait_for(api, MACHINE, machine, given(machine, "disks", name), timeout_s, asked)
    screen.out().print(f"disk {name} of machine/{machine} {'attached' if wait else 'is being attached'}")


@disk.command()
@click.argument("machine", shell_complete=names_of(MACHINE))
@click.argument("name")
@waitable
@namespaced
@current
def detach(invocation: Invocation, machine: str, name: str, wait: bool, timeout_s: float) -> None:
    """Take the data disk NAME from a machine; a volume made for it goes, an existing one stays."""
    end = monotonic() + timeout_s
    with open_api(invocation) as api:
        attachment = api.find(ATTACHMENT, f"{machine}-{name}") if wait else None
        asked = api.act("DELETE", machine, f"disks/{name}")
        if wait:
            wait_for(api, MACHINE, machine, taken(machine, "disks", name), timeout_s, asked)
            # The machine may tell of its new spec before its DPU has let the old disk go.
            wait_until_gone(api, ATTACHMENT, attachment, max(LEAST_WAIT_S, end - monotonic()))
    screen.out().print(f"disk {name} of machine/{machine} {'detached' if wait else 'is being detached'}")
