"""``bmctl lab``: up, down, status, logs. A thin skin over lab.lifecycle."""

import collections
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lab import lifecycle
from lab.pods.commands import pod
from lab.settings import Acceleration, Extent, HostLink, ImageKind, LabSettings, Layout
from lab.supervisor.unit import UnitState
from proto.errors import DpuError
from proto.reasons import Reason

COLOURS = {UnitState.READY: "green", UnitState.BACKOFF: "red", UnitState.STOPPED: "red"}
FOLLOW_POLL_S = 0.2

name_option = click.option("--name", default="dpl", show_default=True, help="Name of the lab, at most 6 characters.")


@click.group(help="The whole system on this one machine.")
def lab() -> None:
    """Group of the lab's commands."""


def _values(enumeration: type[ImageKind] | type[Acceleration] | type[HostLink]) -> click.Choice[str]:
    return click.Choice([each.value for each in enumeration])


@lab.command()
@name_option
@click.option("--hosts", default=1, show_default=True, help="Bare-metal hosts, each with a DPU and a BMC.")
@click.option("--port", default=6443, show_default=True, help="Port of the API on 127.0.0.1.")
@click.option("--image", type=_values(ImageKind), default="tiny", show_default=True, help="Image that machines boot.")
@click.option("--accel", type=_values(Acceleration), default="auto", show_default=True, help="How hosts are emulated.")
@click.option(
    "--link", type=_values(HostLink), default="pcie", show_default=True, help="What hosts are: see docs/lab.md."
)
@click.option("--pod-nodes", default=0, show_default=True, help="Nodes whose pods get their network from OVN.")
@click.option("--infrastructure", is_flag=True, help="Only networks, switches, storage daemons and hosts.")
def up(
    name: str, hosts: int, port: int, image: str, accel: str, link: str, pod_nodes: int, *, infrastructure: bool
) -> None:
    """Bring the lab up; does nothing to one that is up."""
    extent = Extent.INFRASTRUCTURE if infrastructure else Extent.ALL
    settings = LabSettings(name, hosts, port, ImageKind(image), Acceleration(accel), extent, HostLink(link), pod_nodes)
    began = time.monotonic()
    layout = lifecycle.up(settings, lambda said: click.echo(f"lab {name}: {said}", err=True))
    click.echo(f"lab {name} is up ({time.monotonic() - began:.1f} s)", err=True)
    if not infrastructure:
        click.echo(f"export KUBECONFIG={layout.kubeconfig}")


@lab.command()
@name_option
@click.option("--keep-logs", is_flag=True, help="Leave the folder with the logs.")
def down(name: str, *, keep_logs: bool) -> None:
    """Take the lab down; nothing of it is left."""
    was_there = lifecycle.down(name, keep_logs=keep_logs)
    click.echo(f"lab {name} is down" if was_there else f"there was no lab {name}", err=True)


@lab.command()
@name_option
def status(name: str) -> None:
    """Show the lab's processes."""
    answer = lifecycle.status(name)
    table = Table("UNIT", "STATE", "PID", "STARTS", "MESSAGE", box=None, header_style="bold")
    for unit in answer.units:
        state = f"[{COLOURS.get(unit.state, 'yellow')}]{unit.state.value}[/]"
        table.add_row(unit.name, state, str(unit.pid or "-"), str(unit.starts), unit.message)
    Console().print(table)


@lab.command()
@name_option
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come.")
@click.option("-n", "--lines", default=50, show_default=True, help="Lines from the end.")
@click.argument("unit", default="supervisor")
def logs(name: str, unit: str, lines: int, *, follow: bool) -> None:
    """Print the log of a unit, of the supervisor when none is named."""
    file = Layout(name).logs / f"{unit}.log"
    if not file.exists():
        known = ", ".join(sorted(each.stem for each in Layout(name).logs.glob("*.log"))) or "none: the lab is not up"
        raise DpuError(Reason.NOT_FOUND, f"no log of {unit}; there are: {known}", field="UNIT")
    _print(file, lines, follow=follow)


def _print(file: Path, lines: int, *, follow: bool) -> None:
    with file.open(encoding="utf-8", errors="replace") as stream:
        for line in collections.deque(stream, maxlen=lines):
            click.echo(line, nl=False)
        while follow:
            line = stream.readline()
            if line:
                click.echo(line, nl=False)
            else:
                time.sleep(FOLLOW_POLL_S)


lab.add_command(pod)
