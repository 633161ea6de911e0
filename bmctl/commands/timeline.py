"""bmctl timeline."""

import sys

import click

from bmctl import screen
from bmctl.api import open_api
from bmctl.completing import names_of
from bmctl.goals import settled
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import MACHINE
from bmctl.objects import dig
from bmctl.output import Output, encode
from bmctl.progress import picture, view
from bmctl.waiting import DEFAULT_TIMEOUT_S
from bmctl.watching import states


@click.command()
@click.argument("machine", shell_complete=names_of(MACHINE))
@click.option(
    "--follow/--no-follow",
    default=None,
    help="Go on until the machine has settled; the default on a terminal.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice([Output.TABLE, Output.JSON, Output.YAML], case_sensitive=False),
    default=Output.TABLE,
)
@namespaced
@current
def timeline(invocation: Invocation, machine: str, follow: bool | None, output: Output) -> None:
    """Show the phases of a machine's life: how long each took, in how many tries, and what it did."""
    with open_api(invocation) as api:
        obj = api.get(MACHINE, machine)
        if output is not Output.TABLE:
            status = {key: dig(obj, f"status.{key}") for key in ("phase", "timeline", "deployment")}
            screen.out().print(encode(status, output, MACHINE))
            return
        if follow if follow is not None else sys.stderr.isatty() and not settled(obj):
            with view(machine) as shown:
                for seen in states(api, MACHINE, machine, timeout_s=DEFAULT_TIMEOUT_S, lost=shown.lost):
                    shown.show(seen)
                    if settled(seen):
                        return
        for line in picture(obj):
            screen.out().print(line)
