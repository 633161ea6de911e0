"""bmctl delete."""

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.completing import kind_names, names_of_typed_kind
from bmctl.goals import gone
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import Kind
from bmctl.manifests import kind_named, kind_of, read
from bmctl.objects import Object, dig, name_of
from bmctl.waiting import DEFAULT_TIMEOUT_S, wait_for
from proto.errors import DpuError
from proto.reasons import Reason

Target = tuple[Kind, Object]


@click.command()
@click.argument("kind", required=False, shell_complete=kind_names)
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=names_of_typed_kind)
@click.option("-f", "--filename", "files", multiple=True, help="Delete what a file names; - for standard input.")
@click.option("--ignore-not-found", is_flag=True, help="Succeed when there is nothing to delete.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Return when it is gone.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="Longest wait; then exit status 7.",
)
@namespaced
@current
def delete(
    invocation: Invocation,
    kind: str | None,
    names: tuple[str, ...],
    files: tuple[str, ...],
    ignore_not_found: bool,
    wait: bool,
    timeout_s: float,
) -> None:
    """Delete objects by kind and name, or those of a file."""
    if bool(files) == bool(kind and names):
        raise click.UsageError("give KIND NAME, or -f FILE")
    with open_api(invocation) as api:
        wanted = _named(kind, names) if kind else _in_files(api, files)
        going = [found for target in wanted if (found := _delete(api, target, ignore_absent=ignore_not_found))]
        for target in going:
            _finish(api, target, timeout_s, wait=wait)


def _named(kind: str, names: tuple[str, ...]) -> list[Target]:
    return [(kind_named(kind), {"metadata": {"name": name}}) for name in names]


def _in_files(api: Api, files: tuple[str, ...]) -> list[Target]:
    """Last first: what was created later may stand on what was created before."""
    return [(kind_of(api, obj, where), obj) for where, obj in reversed(read(files))]


def _delete(api: Api, target: Target, *, ignore_absent: bool) -> Target | None:
    """Ask for the deletion; the target as it was, or None when it was not there and need not be."""
    kind, obj = target
    try:
        found = api.get(kind, name_of(obj), api.place(obj))
        api.delete(kind, name_of(obj), api.place(obj))
    except DpuError as error:
        if error.reason is Reason.NOT_FOUND and ignore_absent:
            return None
        raise
    return kind, found


def _finish(api: Api, target: Target, timeout_s: float, *, wait: bool) -> None:
    kind, obj = target
    name = name_of(obj)
    if wait:
        with api.at(obj) as there:
            wait_for(there, kind, name, gone(name, str(dig(obj, "metadata.uid"))), timeout_s, obj)
    screen.out().print(f"{kind.word}/{name} {'deleted' if wait else 'is being deleted'}")
