"""bmctl describe."""

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.completing import kind_names, names_of_typed_kind
from bmctl.description import described
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import EVENT, Kind
from bmctl.manifests import kind_named
from bmctl.objects import Object, dig, name_of


@click.command()
@click.argument("kind", shell_complete=kind_names)
@click.argument("name", shell_complete=names_of_typed_kind)
@namespaced
@current
def describe(invocation: Invocation, kind: str, name: str) -> None:
    """Show one object: what is wanted, what is there, conditions, timeline and events."""
    chosen = kind_named(kind)
    with open_api(invocation) as api:
        obj = api.get(chosen, name)
        for line in described(chosen, obj, _events(api, chosen, obj)):
            screen.out().print(line)


def _events(api: Api, kind: Kind, obj: Object) -> list[Object]:
    """Events about this very object, oldest first."""
    about = {"kind": kind.kind, "name": name_of(obj), "uid": dig(obj, "metadata.uid", "")}
    selector = ",".join(f"involvedObject.{key}={value}" for key, value in about.items())
    found = api.list(EVENT, {"fieldSelector": selector}, everywhere=not kind.namespaced).get("items") or []
    return sorted(found, key=_moment)


def _moment(event: Object) -> tuple[str, int]:
    """When an event was last seen; times have whole seconds, so the order of writing decides within one."""
    version = str(dig(event, "metadata.resourceVersion", ""))
    when = str(event.get("lastTimestamp") or event.get("eventTime") or "")
    return when, int(version) if version.isdecimal() else 0
