"""bmctl kubeconfig."""

import os
import tempfile
from pathlib import Path
from typing import Any

import click
import yaml

from bmctl import screen
from bmctl.invocation import Invocation, connected, current
from bmctl.kubeconfig import connect, load
from bmctl.kubeconfig_entry import document, merge
from bmctl.output import to_yaml
from proto.errors import DpuError
from proto.reasons import Reason


@click.command()
@click.option("--merge", "merging", is_flag=True, help="Add it to a kubeconfig file and make it current there.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that --merge writes; ~/.kube/config when absent.",
)
@click.option("--name", default="dpupool", show_default=True, help="Name of the entry.")
@connected
@current
def kubeconfig(invocation: Invocation, merging: bool, into: Path | None, name: str) -> None:
    """Print the connection in use as a kubeconfig of its own, or merge it into a file; kubectl reads both."""
    if into and not merging:
        raise click.UsageError("--into goes with --merge")
    own = document(connect(load(invocation.kubeconfig_files()), invocation.context), name)
    if not merging:
        screen.out().print(to_yaml(own), end="")
        return
    target = into or Path.home() / ".kube" / "config"
    _replace(target, to_yaml(merge(_existing(target), own)))
    screen.out().print(f"context {name} is current in {target}")


def _existing(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text()) if path.exists() else {}
    except (OSError, yaml.YAMLError) as error:
        raise DpuError(
            Reason.INVALID, f"{path} cannot be read: {error}", field="--into", remedy="correct it, or name another file"
        ) from error
    return document if isinstance(document, dict) else {}


def _replace(path: Path, text: str) -> None:
    """Write beside the file and rename, so that a crash leaves the old or the new one; readable by us alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".kubeconfig-")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)
