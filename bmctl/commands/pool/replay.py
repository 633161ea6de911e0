"""bmctl pool replay."""

import gzip
import zlib
from datetime import UTC, datetime

import click
import msgspec

from bmctl import screen
from bmctl.commands.pool.sources import named, text_of
from bmctl.exits import Exit
from coordinator.core.pool.record import LoopRecord, from_json, to_json
from coordinator.core.pool.record import replay as decide_again
from proto.errors import DpuError
from proto.reasons import Reason

_PACKED = b"\x1f\x8b"


@click.command()
@click.argument("record", metavar="RECORD")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Form.")
@click.pass_context
def replay(ctx: click.Context, record: str, output: str) -> None:
    """Decide again on what a recorded loop saw; exit status 1 when the decision is not the same, byte for byte.

    RECORD is a file that the coordinator, or `bmctl pool plan --record`, has written; - for standard input.
    """
    recorded = _read(record)
    again = decide_again(recorded)
    equal = to_json(again.recorded) == to_json(again.now)
    if output == "json":
        told = {"equal": equal, "differences": list(again.differences), "now": msgspec.to_builtins(again.now)}
        screen.out().print(msgspec.json.format(msgspec.json.encode(told, order="deterministic"), indent=2).decode())
    else:
        seen = recorded.seen
        moment = datetime.fromtimestamp(seen.now_s, UTC).isoformat(timespec="seconds")
        screen.out().print(
            f"seen      {moment}: {len(seen.nodes)} nodes, {len(seen.pods)} pods, {len(seen.groups)} pools"
        )
        screen.out().print(f"recorded  {again.recorded.sentence}")
        screen.out().print(f"now       {again.now.sentence}")
        verdict = "byte-equal" if equal else f"different in {', '.join(again.differences) or 'order'}"
        screen.out().print(f"verdict   {verdict}", style="green" if equal else "red")
    if not equal:
        ctx.exit(Exit.FAILED)


def _read(source: str) -> LoopRecord:
    text = text_of(source)
    with named(source):
        try:
            return from_json(gzip.decompress(text) if text.startswith(_PACKED) else text)
        except (OSError, EOFError, zlib.error) as error:
            remedy = "give a whole record"
            raise DpuError(Reason.CORRUPT, f"damaged: {error}", field="record", remedy=remedy) from error
