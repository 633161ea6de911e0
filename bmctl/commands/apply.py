"""bmctl apply."""

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.commands.create import finish
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import Kind
from bmctl.manifests import kind_of, read
from bmctl.objects import Object, dig, name_of
from bmctl.waiting import waitable

BOOKS = frozenset({"resourceVersion", "managedFields"})


@click.command()
@click.option("-f", "--filename", "files", multiple=True, required=True, help="File, folder or - for standard input.")
@click.option("--force", is_flag=True, help="Take over fields that somebody else manages.")
@waitable
@namespaced
@current
def apply(invocation: Invocation, files: tuple[str, ...], force: bool, wait: bool, timeout_s: float) -> None:
    """Make objects what a file says, creating what is missing."""
    with open_api(invocation) as api:
        made = []
        for where, obj in read(files):
            kind = kind_of(api, obj, where)
            made.append((kind, _apply(api, kind, obj, force=force)))
        if wait:
            finish(api, made, timeout_s)


def _apply(api: Api, kind: Kind, obj: Object, *, force: bool) -> Object:
    before = api.find(kind, name_of(obj), api.place(obj))
    after = api.apply(kind, obj, force=force)
    if before is None:
        what = "created"
    elif _wanted(before) == _wanted(after):
        what = "unchanged"
    else:
        what = "configured"
    screen.out().print(f"{kind.word}/{name_of(after)} {what}")
    return after


def _wanted(obj: Object) -> Object:
    """What people decide of an object: not its status, which controllers write at any time, nor the API's books."""
    metadata = {key: value for key, value in dig(obj, "metadata", {}).items() if key not in BOOKS}
    return {key: value for key, value in obj.items() if key != "status"} | {"metadata": metadata}
