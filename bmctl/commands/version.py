"""bmctl version."""

from importlib.metadata import version as installed

import click

from bmctl.api import open_api
from bmctl.invocation import Invocation, connected, current
from proto.errors import DpuError


@click.command()
@click.option("--client", is_flag=True, help="Do not ask the server.")
@connected
@current
def version(invocation: Invocation, client: bool) -> None:
    """Show the versions of bmctl and of the server."""
    click.echo(f"bmctl   {installed('dpupool')}")
    if client:
        return
    try:
        with open_api(invocation, timeout_s=5.0) as api:
            answer = api.transport.ask("GET", "/version")
    except DpuError as error:
        click.echo(f"server  unknown: {error.message}")
    else:
        click.echo(f"server  {answer.get('gitVersion', 'unknown')} at {api.connection.server}")
