"""bmctl nic attach and detach."""

import click

from bmctl import screen
from bmctl.api import open_api
from bmctl.completing import names_of
from bmctl.goals import given, taken
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import MACHINE, SUBNET
from bmctl.waiting import wait_for, waitable


@click.group()
def nic() -> None:
    """Attach and detach NICs of a machine, while it runs."""


@nic.command()
@click.argument("machine", shell_complete=names_of(MACHINE))
@click.argument("name")
@click.option("--subnet", required=True, shell_complete=names_of(SUBNET), help="Subnet that the address comes from.")
@click.option("--ip", help="Address; chosen when absent.")
@click.option("--mac", help="MAC address; chosen when absent.")
@click.option("--mtu", type=click.IntRange(576, 9216), help="Largest packet in bytes; the network's when absent.")
@waitable
@namespaced
@current
def attach(
    invocation: Invocation,
    machine: str,
    name: str,
    subnet: str,
    ip: str | None,
    mac: str | None,
    mtu: int | None,
    wait: bool,
    timeout_s: float,
) -> None:
    """Give a machine a NIC called NAME."""
    wanted = {"name": name, "subnetRef": {"name": subnet}, "address": ip, "mac": mac, "mtu": mtu}
    with open_api(invocation) as api:
        asked = api.act("POST", machine, "nics", {key: value for key, value in wanted.items() if value is not None})
        if wait:
            wait_for(api, MACHINE, machine, given(machine, "nics", name), timeout_s, asked)
    screen.out().print(f"nic {name} of machine/{machine} {'attached' if wait else 'is being attached'}")


@nic.command()
@click.argument("machine", shell_complete=names_of(MACHINE))
@click.argument("name")
@waitable
@namespaced
@current
def detach(invocation: Invocation, machine: str, name: str, wait: bool, timeout_s: float) -> None:
    """Take the NIC NAME from a machine and give its address back."""
    with open_api(invocation) as api:
        asked = api.act("DELETE", machine, f"nics/{name}")
        if wait:
            wait_for(api, MACHINE, machine, taken(machine, "nics", name), timeout_s, asked)
    screen.out().print(f"nic {name} of machine/{machine} {'detached' if wait else 'is being detached'}")
