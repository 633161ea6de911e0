"""``python -m lab.demo``: brings the lab up, tells the story, takes the lab down."""

import sys
import time

import click

from lab import lifecycle
from lab.demo.screen import Screen
from lab.demo.story import Story
from lab.settings import Acceleration, ImageKind, LabSettings
from proto.errors import DpuError


def _choice(enumeration: type[ImageKind] | type[Acceleration]) -> click.Choice[str]:
    return click.Choice([each.value for each in enumeration])


@click.command()
@click.option("--image", type=_choice(ImageKind), default="tiny", show_default=True, help="Image that bm-01 boots.")
@click.option("--accel", type=_choice(Acceleration), default="auto", show_default=True, help="How hosts are emulated.")
@click.option("--name", default="demo", show_default=True, help="Name of the lab.")
@click.option("--port", default=6443, show_default=True, help="Port of the API on 127.0.0.1.")
@click.option("--keep", is_flag=True, help="Leave the lab up at the end.")
def main(image: str, accel: str, name: str, port: int, *, keep: bool) -> None:
    """A machine boots from the disk that its DPU gives it, in front of your eyes."""
    settings = LabSettings(name, 1, port, ImageKind(image), Acceleration(accel))
    began = time.monotonic()
    screen = Screen()
    try:
        with screen:
            verdict = Story(settings, screen).tell()
    except DpuError as error:
        click.secho(f"\nthe demo failed: {error}", fg="red", err=True)
        logs, down = f"bmctl lab logs --name {name} UNIT", f"bmctl lab down --name {name}"
        click.echo(f"the lab is still up: look with `bmctl lab status --name {name}`, `{logs}`; end it with `{down}`")
        sys.exit(1)
    if not keep:
        lifecycle.down(name)
    click.echo(f"\n{verdict}; the whole demo took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
