"""bmctl create."""

from pathlib import Path

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.completing import names_of
from bmctl.goals import ready
from bmctl.invocation import Invocation, namespaced
from bmctl.kinds import HOST, IMAGE, MACHINE, Kind
from bmctl.machine_form import MachineForm
from bmctl.manifests import kind_of, read
from bmctl.objects import Object, name_of
from bmctl.waiting import wait_for, waitable


@click.group(invoke_without_command=True)
@click.option("-f", "--filename", "files", multiple=True, help="File, folder or - for standard input; repeatable.")
@waitable
@namespaced
@click.pass_context
def create(ctx: click.Context, files: tuple[str, ...], wait: bool, timeout_s: float) -> None:
    """Create what a file says, or a machine from flags."""
    if ctx.invoked_subcommand is not None:
        return
    if not files:
        raise click.UsageError("give -f FILE, or `create machine NAME`")
    invocation = ctx.ensure_object(Invocation)
    with open_api(invocation) as api:
        made = []
        for where, obj in read(files):
            kind = kind_of(api, obj, where)
            made.append((kind, _create(api, kind, obj)))
        if wait:
            finish(api, made, timeout_s)


@create.command("machine")
@click.argument("name")
@click.option("--image", required=True, shell_complete=names_of(IMAGE), help="Image to clone the system disk from.")
@click.option("--size", help="Size of the system disk, such as 10Gi; the image's when absent.")
@click.option("--nic", "nics", multiple=True, metavar="SUBNET[,ip=][,mac=][,name=][,mtu=]", help="A NIC; repeatable.")
@click.option("--disk", "disks", multiple=True, metavar="NAME=SIZE", help="A data disk, or NAME,volume=VOLUME.")
@click.option(
    "--user-data", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="cloud-init user data."
)
@click.option("--host", shell_complete=names_of(HOST), help="A certain server; any that fits when absent.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label; repeatable.")
@click.option("--cpus", type=click.IntRange(min=1), help="Least number of logical CPUs.")
@click.option("--memory-mib", type=click.IntRange(min=1), help="Least memory in MiB.")
@click.option("--off", is_flag=True, help="Leave it powered off.")
@waitable
@namespaced
@click.pass_context
def machine(ctx: click.Context, /, wait: bool, timeout_s: float, **flags: object) -> None:
    """Create a machine that boots from a clone of an image."""
    form = MachineForm(**flags)  # type: ignore[arg-type]  # click gives each flag the type that is declared above
    with open_api(ctx.ensure_object(Invocation)) as api:
        made = _create(api, MACHINE, form.manifest())
        if wait:
            finish(api, [(MACHINE, made)], timeout_s)


def _create(api: Api, kind: Kind, obj: Object) -> Object:
    made = api.create(kind, obj)
    screen.out().print(f"{kind.word}/{name_of(made)} created")
    return made


def finish(api: Api, made: list[tuple[Kind, Object]], timeout_s: float) -> None:
    """Wait for each object whose kind has a state to wait for.

    Args:
        api: the API.
        made: kinds and objects, as the server returned them.
        timeout_s: longest wait for each.
    """
    for kind, obj in made:
        goal = ready(kind, obj)
        if goal is not None:
            with api.at(obj) as there:
                wait_for(there, kind, name_of(obj), goal, timeout_s, obj)
            screen.out().print(goal.sentence, style="green")
