"""bmctl cpu release, lift and restore."""

import click

from bmctl import screen
from bmctl.api import open_api
from bmctl.commands.cpu.service import FORMATS, dumped, placements
from bmctl.completing import names_of
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import CPU_PLACEMENT


@click.command()
@click.argument("name", shell_complete=names_of(CPU_PLACEMENT))
@namespaced
@current
def release(invocation: Invocation, name: str) -> None:
    """Give the CPUs of instance NAME back; one that is not there is fine."""
    with open_api(invocation) as api:
        answer = api.transport.ask("DELETE", placements(api.namespace, name))
    screen.out().print(f"{name} released" if answer.get("wasThere") else f"there was no {name}")


@click.command()
@click.argument("name", shell_complete=names_of(CPU_PLACEMENT))
@click.option("-o", "--output", type=FORMATS)
@namespaced
@current
def lift(invocation: Invocation, name: str, output: str | None) -> None:
    """Let exclusive instance NAME run on the shared pool besides its own CPUs, which stay its alone."""
    _lift(invocation, name, output, lifted=True)


@click.command()
@click.argument("name", shell_complete=names_of(CPU_PLACEMENT))
@click.option("-o", "--output", type=FORMATS)
@namespaced
@current
def restore(invocation: Invocation, name: str, output: str | None) -> None:
    """Put lifted instance NAME back on its own CPUs."""
    _lift(invocation, name, output, lifted=False)


def _lift(invocation: Invocation, name: str, output: str | None, *, lifted: bool) -> None:
    with open_api(invocation) as api:
        answer = api.transport.ask("POST", placements(api.namespace, name, "lift"), body={"lifted": lifted})
    if output:
        click.echo(dumped(answer, output))
    else:
        screen.out().print(f"{name} may run on CPU {answer.get('allowed', '')}")
