"""bmctl console."""

import asyncio
import sys
from urllib.parse import urlencode

import click

from bmctl import screen
from bmctl.api import action_path
from bmctl.completing import names_of
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import MACHINE
from bmctl.kubeconfig import connect, load
from bmctl.serial.keyboard import raw
from bmctl.serial.session import Endpoint, sit
from bmctl.tls import client_context
from bmctl.transport import credentials


@click.command()
@click.argument("machine", shell_complete=names_of(MACHINE))
@click.option("--view", is_flag=True, help="Only watch; any number of viewers can.")
@click.option("--takeover", is_flag=True, help="Take the keyboard from whoever has it.")
@click.option(
    "--linger",
    "linger_s",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="After piped input ends: leave when the console was silent that long.",
)
@namespaced
@current
def console(invocation: Invocation, machine: str, view: bool, takeover: bool, linger_s: float) -> None:
    """Open a machine's serial console.

    Leave with ~. at the start of a line or with Ctrl-]; the machine does not notice. Input may be piped.
    """
    if view and takeover:
        raise click.UsageError("--view only watches; --takeover writes")
    endpoint = _endpoint(invocation, machine, view=view, takeover=takeover)
    interactive = sys.stdin.isatty()
    if interactive:
        screen.err().print(f"console of {machine}; ~. or Ctrl-] leaves", style="dim")
    with raw(sys.stdin.fileno()):
        why = asyncio.run(sit(endpoint, sys.stdin.fileno(), sys.stdout.fileno(), linger_s=linger_s))
    if interactive:
        screen.err().print(f"\n{why}", style="dim")


def _endpoint(invocation: Invocation, machine: str, *, view: bool, takeover: bool) -> Endpoint:
    connection = connect(load(invocation.kubeconfig_files()), invocation.context)
    namespace = invocation.namespace or connection.namespace
    query = {"mode": "view" if view else "write"} | ({"takeover": "true"} if takeover else {})
    server = connection.server.replace("http", "ws", 1)
    return Endpoint(
        url=f"{server}{action_path(namespace, machine, 'console')}?{urlencode(query)}",
        headers=credentials(connection),
        tls=client_context(connection) if server.startswith("wss:") else None,
        server_name=connection.server_name,
        writes=not view,
    )
