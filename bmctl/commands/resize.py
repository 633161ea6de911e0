"""bmctl resize."""

import time
from uuid import uuid4

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.completing import names_of
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import POD
from bmctl.objects import Object, name_of
from bmctl.output import Output, encode
from coordinator.core.pool.quantity import parse
from coordinator.core.resize.pods import (
    WISH,
    Answer,
    Change,
    Phase,
    ResizeWish,
    answer_of,
    containers_of,
    wish_text,
)
from proto.errors import DpuError
from proto.reasons import Reason

POLL_S = 0.3
MERGE = "application/merge-patch+json"


@click.command()
@click.argument("pod", shell_complete=names_of(POD))
@click.option("-c", "--container", "containers", multiple=True, help="Only this one; can be repeated. Default: all.")
@click.option("--cpu", help="New CPU limit of each, such as 500m or 2.")
@click.option("--memory", help="New memory limit of each, such as 256Mi.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), default=150.0, show_default=True, metavar="SECONDS"
)
@click.option("-o", "--output", type=click.Choice([Output.JSON.value, Output.YAML.value]))
@namespaced
@current
def resize(
    invocation: Invocation,
    pod: str,
    containers: tuple[str, ...],
    cpu: str | None,
    memory: str | None,
    timeout_s: float,
    output: str | None,
) -> None:
    """Give the containers of a running POD other limits without a restart, and wait until they are in force.

    Requests that equal their limit move with it. All containers change, or none. An instance with CPUs of its own gets
    or gives back whole CPUs.

    \b
    Examples:
      bmctl resize web-0 --cpu 2 --memory 1Gi
      bmctl resize web-0 -c app -c proxy --cpu 500m
    """  # noqa: D301  (click takes \b as a mark)
    if cpu is None and memory is None:
        raise click.UsageError("give --cpu, --memory, or both")
    change = Change(
        cpu_milli=None if cpu is None else int(parse(cpu, "--cpu") * 1000),
        memory_bytes=None if memory is None else int(parse(memory, "--memory")),
    )
    with open_api(invocation) as api:
        found = api.get(POD, pod)
        names = containers or tuple(str(one["name"]) for one in containers_of(found))
        wish = ResizeWish(id=uuid4().hex, changes=dict.fromkeys(names, change), by="bmctl")
        body = {"metadata": {"annotations": {WISH: wish_text(wish)}}}
        api.transport.ask("PATCH", POD.path(api.namespace, pod), body=body, content_type=MERGE)
        answer, found = _wait(api, pod, wish.id, timeout_s)
    if answer.phase is Phase.FAILED:
        raise DpuError(Reason.WRONG_STATE, f"pod {pod} was not resized: {answer.message}", field="containers")
    if output:
        click.echo(encode(found, Output(output), POD))
    else:
        screen.out().print(f"pod/{name_of(found)} resized: {answer.message}", style="green")


def _wait(api: Api, pod: str, wish_id: str, timeout_s: float) -> tuple[Answer, Object]:
    end, said = time.monotonic() + timeout_s, ""
    while True:
        found = api.get(POD, pod)
        answer = answer_of(found)
        mine = answer if answer is not None and answer.id == wish_id else None
        if mine is not None and mine.phase is not Phase.WAITING:
            return mine, found
        message = mine.message if mine is not None else ""
        if message and message != said:
            screen.err().print(message, style="dim")
            said = message
        if time.monotonic() > end:
            raise DpuError(
                Reason.DEADLINE,
                f"waited {timeout_s:g} s for pod {pod}: {said or 'no coordinator has taken the wish up'}",
                remedy="wait longer with --timeout, or see that the coordinator follows this cluster",
            )
        time.sleep(POLL_S)
