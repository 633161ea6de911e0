"""Which API a command speaks to, as said on the command line."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

LAB_KUBECONFIG = Path("/var/lib/dpupool/dpl/kubeconfig")
"""Written by `bmctl lab up`; used when there is nothing else."""

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass
class Invocation:
    """The options every command shares; filled from left to right on the command line.

    Attributes:
        kubeconfig: file given with --kubeconfig; the environment and the home directory decide when None.
        context: context of that file; its current one when None.
        namespace: namespace to work in; the context's when None.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None

    def kubeconfig_files(self) -> tuple[Path, ...]:
        """Files to read, the first one that names a thing wins, as with kubectl."""
        if self.kubeconfig is not None:
            return (self.kubeconfig,)
        from_environment = os.environ.get("KUBECONFIG", "")
        if from_environment:
            return tuple(Path(part) for part in from_environment.split(os.pathsep) if part)
        own = Path.home() / ".kube" / "config"
        return (LAB_KUBECONFIG,) if not own.exists() and LAB_KUBECONFIG.exists() else (own,)


def _store(field: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value is not None:
            setattr(ctx.ensure_object(Invocation), field, value)

    return callback


def connected(command: Command) -> Command:
    """Give a command the options that say which API it speaks to."""
    options = (
        click.option(
            "--kubeconfig",
            type=click.Path(path_type=Path, dir_okay=False),
            expose_value=False,
            callback=_store("kubeconfig"),
            help="Kubeconfig file; $KUBECONFIG, then ~/.kube/config, then the lab's when absent.",
        ),
        click.option(
            "--context", expose_value=False, callback=_store("context"), help="Context of the kubeconfig to use."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def namespaced(command: Command) -> Command:
    """Give a command ``connected``'s options and the namespace."""
    option = click.option(
        "-n", "--namespace", expose_value=False, callback=_store("namespace"), help="Namespace to work in."
    )
    return connected(option(command))


current = click.make_pass_decorator(Invocation, ensure=True)
