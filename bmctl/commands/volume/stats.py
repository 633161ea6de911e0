"""bmctl volume stats."""

import json
import time
from datetime import datetime

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.columns import Columns
from bmctl.commands.volume.finding import the_attachment
from bmctl.commands.volume.rates import RATE_NAMES, counters, rates, totals
from bmctl.completing import names_of
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import ATTACHMENT, HOST, VOLUME
from bmctl.objects import Object, dig, name_of

WORD = "stats"


@click.command()
@click.argument("volume", shell_complete=names_of(VOLUME))
@click.argument("host", required=False, shell_complete=names_of(HOST))
@click.option("-w", "--watch", is_flag=True, help="Go on with rates and mean latencies.")
@click.option(
    "--interval", "interval_s", type=click.FloatRange(min=0.1), default=1.0, show_default=True, metavar="SECONDS",
    help="Between readings.",
)  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many lines of --watch.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Form.")
@namespaced
@current
def stats(
    invocation: Invocation,
    volume: str,
    host: str | None,
    watch: bool,
    interval_s: float,
    count: int | None,
    output: str,
) -> None:
    """Show what the disk of VOLUME has moved since it was connected; HOST says which where several read it."""
    if count is not None and not watch:
        raise click.UsageError("--count goes with --watch")
    with open_api(invocation) as api:
        attachment = name_of(the_attachment(api, volume, host))
        if watch:
            _watch(api, attachment, interval_s, count, as_json=output == "json")
            return
        reply = api.ask_about(ATTACHMENT, attachment, WORD)
    if output == "json":
        screen.out().print(json.dumps(reply, indent=2))
        return
    screen.out().print(f"volume/{volume} at {dig(reply, 'host')}, since it was connected", style="dim")
    for line in Columns(["Operation", "Count", "Bytes", "Mean time"]).lines(totals(counters(reply))):
        screen.out().print(line)


def _watch(api: Api, attachment: str, interval_s: float, count: int | None, *, as_json: bool) -> None:
    """A line for each interval, until the user has enough."""
    columns = Columns(["Time", *RATE_NAMES])
    before, began = counters(api.ask_about(ATTACHMENT, attachment, WORD)), time.monotonic()
    shown = 0
    while count is None or shown < count:
        time.sleep(interval_s)
        reply = api.ask_about(ATTACHMENT, attachment, WORD)
        now, ended = counters(reply), time.monotonic()
        step = now.since(before)
        if as_json:
            screen.out().print(json.dumps(_moment(reply)))
        elif step is None:
            screen.out().print("the disk was connected anew; its counters began at 0", style="yellow")
        else:
            cells = [datetime.now().astimezone().strftime("%H:%M:%S"), *rates(step, ended - began)]
            for line in columns.lines([cells]):
                screen.out().print(line)
        before, began = now, ended
        shown += 1


def _moment(reply: Object) -> Object:
    """One reading with its time, for programs that follow."""
    return {"time": datetime.now().astimezone().isoformat(timespec="milliseconds"), **reply}
