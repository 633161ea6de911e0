"""bmctl cpu map."""

import click

from bmctl import screen
from bmctl.api import open_api
from bmctl.commands.cpu.floor import floor_of
from bmctl.commands.cpu.service import dumped, node_path
from bmctl.commands.cpu.svg import picture
from bmctl.commands.cpu.terminal import lines
from bmctl.invocation import Invocation, connected, current


@click.command("map")
@click.argument("node")
@click.option("-o", "--output", type=click.Choice(["text", "svg", "json", "yaml"]), default="text", show_default=True)
@connected
@current
def show_map(invocation: Invocation, node: str, output: str) -> None:
    """Show a NODE's CPUs (or CLUSTER/NODE): sockets, NUMA nodes, [cores] with their threads, who holds them.

    \b
    Examples:
      bmctl cpu map node-7
      bmctl cpu map east/node-7 -o svg > node-7.svg
    """  # noqa: D301  (click takes \b as a mark)
    with open_api(invocation) as api:
        answer = api.transport.ask("GET", node_path(node))
    if output == "text":
        out = screen.out()
        for line in lines(floor_of(answer), out.width):
            out.print(line)
    elif output == "svg":
        click.echo(picture(floor_of(answer)))
    else:
        click.echo(dumped(answer, output))
