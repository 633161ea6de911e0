"""bmctl get."""

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.completing import kind_names, names_of_typed_kind
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import OWN, Kind
from bmctl.manifests import kind_named
from bmctl.objects import Object, dig
from bmctl.output import Output, encode
from bmctl.tables import TablePrinter
from bmctl.watching import rows
from proto.errors import DpuError
from proto.reasons import Reason


@click.command()
@click.argument("kinds", metavar="KIND[,KIND...]", shell_complete=kind_names)
@click.argument("name", required=False, shell_complete=names_of_typed_kind)
@click.option("-o", "--output", type=click.Choice(Output, case_sensitive=False), default=Output.TABLE, help="Form.")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Objects of all namespaces.")
@click.option("-l", "--selector", default="", help="Label selector, such as app=web,tier!=test.")
@click.option("--field-selector", default="", help="Field selector, such as metadata.name=bm-01.")
@click.option("-w", "--watch", is_flag=True, help="Go on and show changes.")
@click.option("--no-headers", is_flag=True, help="Leave out the column names.")
@namespaced
@current
def get(
    invocation: Invocation,
    kinds: str,
    name: str | None,
    output: Output,
    selector: str,
    field_selector: str,
    everywhere: bool,
    watch: bool,
    no_headers: bool,
) -> None:
    """Show objects.

    KIND is machines, hosts, dpus, volumes, attachments, images, networks, subnets, events, or `all` of ours; a list
    with commas shows several.
    """
    chosen = list(OWN) if kinds == "all" else [kind_named(word) for word in kinds.split(",")]
    if len(chosen) > 1 and (name or watch):
        raise click.UsageError("a name or --watch goes with one KIND")
    query = {"labelSelector": selector, "fieldSelector": field_selector}
    if name and watch:
        query["fieldSelector"] = ",".join(part for part in (field_selector, f"metadata.name={name}") if part)
        name = None
    query = {key: value for key, value in query.items() if value}
    with open_api(invocation) as api:
        shown = False
        for kind in chosen:
            view = _View(api, kind, output, query, everywhere=everywhere, heading=not no_headers)
            shown = view.show(name, title=len(chosen) > 1, first=not shown) or shown
            if watch:
                view.follow()


class _View:
    """One kind's objects on the screen.

    Args:
        api: the API.
        kind: the kind.
        output: form.
        query: selectors.
        everywhere: all namespaces.
        heading: print column names.
    """

    def __init__(
        self, api: Api, kind: Kind, output: Output, query: dict[str, str], *, everywhere: bool, heading: bool
    ) -> None:
        self._api = api
        self._kind = kind
        self._output = output
        self._query = query
        self._everywhere = everywhere
        with_namespace = everywhere and kind.namespaced
        self._printer = TablePrinter(wide=output is Output.WIDE, with_namespace=with_namespace, heading=heading)
        self._version = ""

    def show(self, name: str | None, *, title: bool, first: bool) -> bool:
        """Print what is there now; whether there was anything.

        Args:
            name: one object; all when None.
            title: whether other kinds are shown, too; then each gets a title, and empty ones are left out.
            first: whether nothing was shown before.
        """
        if not self._output.tabular:
            obj = self._api.get(self._kind, name) if name else self._list()
            self._remember(obj)
            screen.out().print(encode(obj, self._output, self._kind))
            return True
        table = self._api.table(self._kind, name, self._query, everywhere=self._everywhere)
        self._remember(table)
        if not table.get("rows"):
            self._say_empty(quiet=title)
            return False
        if title:
            screen.out().print(("" if first else "\n") + self._kind.names[0], style="bold cyan")
        for line in self._printer.lines(table):
            screen.out().print(line)
        return True

    def follow(self) -> None:
        """Print changes until the user has enough; a watch that the server ends is begun again."""
        while True:
            query = {**self._query, "resourceVersion": self._version}
            try:
                for event in rows(
                    self._api, self._kind, query, everywhere=self._everywhere, as_table=self._output.tabular
                ):
                    self._show_change(event)
            except DpuError as error:
                if error.reason is not Reason.GONE:
                    raise
                self._remember(self._list())

    def _show_change(self, event: Object) -> None:
        obj = event["object"]
        rows_seen = obj.get("rows") or []
        self._remember(rows_seen[0]["object"] if rows_seen and rows_seen[0].get("object") else obj)
        if not self._output.tabular:
            screen.out().print(encode(obj, self._output, self._kind))
            return
        for line in self._printer.lines(obj):
            if event["type"] == "DELETED":
                line.append("   deleted", style="dim")
            screen.out().print(line)

    def _list(self) -> Object:
        return self._api.list(self._kind, self._query, everywhere=self._everywhere)

    def _remember(self, obj: Object) -> None:
        self._version = str(dig(obj, "metadata.resourceVersion") or self._version)

    def _say_empty(self, *, quiet: bool) -> None:
        if quiet:
            return
        namespaced_here = self._kind.namespaced and not self._everywhere
        place = f" in namespace {self._api.namespace}" if namespaced_here else ""
        screen.err().print(f"no {self._kind.names[0]}{place}", style="dim")
