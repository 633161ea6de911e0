"""Names for the shell's completion, asked of the API with a short deadline."""

from typing import Any

import click
from click.shell_completion import CompletionItem

from bmctl.invocation import Invocation
from bmctl.kinds import KNOWN, Kind, named

DEADLINE_S = 2.0


def kind_names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Kinds that start with what was typed."""
    return [CompletionItem(kind.names[0]) for kind in KNOWN if kind.names[0].startswith(incomplete)]


def names_of(kind: Kind) -> Any:
    """A completer for the names of one kind's objects."""

    def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _names(ctx, kind, incomplete)

    return complete


def names_of_typed_kind(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of objects of the kind typed before."""
    kind = named(ctx.params.get("kinds") or ctx.params.get("kind") or "")
    return _names(ctx, kind, incomplete) if kind else []


def _names(ctx: click.Context, kind: Kind, incomplete: str) -> list[CompletionItem]:
    from bmctl.api import open_api  # noqa: PLC0415  (the API client is slow to import and only needed here)
    from bmctl.objects import name_of  # noqa: PLC0415
    from proto.errors import DpuError  # noqa: PLC0415

    invocation = ctx.find_object(Invocation) or Invocation()
    try:
        with open_api(invocation, timeout_s=DEADLINE_S) as api:
            found = [name_of(item) for item in api.list(kind).get("items") or []]
    except DpuError:
        return []
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]
