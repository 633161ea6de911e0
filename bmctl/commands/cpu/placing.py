"""bmctl cpu place and explain."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from bmctl import screen
from bmctl.api import open_api
from bmctl.columns import Columns
from bmctl.commands.cpu.service import FORMATS, dumped, explanations, placements
from bmctl.invocation import Invocation, current, namespaced
from bmctl.objects import Object
from coordinator.core.pool.quantity import parse

Command = TypeVar("Command", bound=Callable[..., Any])
POLICIES = [
    "Spread", "SameCoreFirst", "BindAllCPUs", "KubeletPacked", "KubeletDistributed", "KoordinatorFullPCPUs",
    "KoordinatorSpreadByPCPUs",
]  # fmt: skip


def _instance(command: Command) -> Command:
    """Give a command the options that describe an instance."""
    options = (
        click.option("--app", "application", required=True, help="Application; its instances are limited per node."),
        click.option("--cpus", type=click.IntRange(1), required=True, help="How many."),
        click.option("--memory", default="0", help="Memory, such as 8Gi."),
        click.option("--shared", is_flag=True, help="In the node's shared pool; else CPUs of its own."),
        click.option("--cpu-policy", type=click.Choice(POLICIES), help="How it sits on cores."),
        click.option("--numa", type=click.Choice(["Any", "PreferOne", "RequireOne", "Spread"])),
        click.option("--policy", help="PlacementPolicy with its filters and rankers."),
        click.option("--cluster", "clusters", multiple=True, help="Only there; can be repeated."),
        click.option("-l", "--selector", "labels", multiple=True, metavar="KEY=VALUE", help="Label of the node."),
        click.option("-o", "--output", type=FORMATS),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _body(asked: dict[str, Any]) -> Object:
    labels = dict(label.partition("=")[::2] for label in asked["labels"])
    instance = {
        "application": asked["application"],
        "mode": "shared" if asked["shared"] else "exclusive",
        "cpus": asked["cpus"],
        "memoryBytes": str(int(parse(asked["memory"], "--memory"))),
        "policy": asked["cpu_policy"],
        "numa": asked["numa"],
    }
    body = {
        "instance": {key: value for key, value in instance.items() if value is not None},
        "clusters": list(asked["clusters"]),
        "selector": labels,
        "policy": asked["policy"],
    }
    return {key: value for key, value in body.items() if value}


@click.command()
@click.argument("name")
@click.option("--pod", help="Its pod, in the same namespace; one that names the placement is found without it.")
@_instance
@namespaced
@current
def place(invocation: Invocation, /, name: str, pod: str | None, output: str | None, **asked: Any) -> None:
    """Have CPUs kept for an instance called NAME, before its pod exists. The same again changes nothing.

    \b
    Example:
      bmctl cpu place db-0 --app db --cpus 8 --memory 32Gi --numa RequireOne
    """  # noqa: D301  (click takes \b as a mark)
    with open_api(invocation) as api:
        body = _body(asked) | {"requestId": name}
        if pod:
            body["pod"] = {"namespace": api.namespace, "name": pod}
        answer = api.transport.ask("POST", placements(api.namespace), body=body)
    if output:
        click.echo(dumped(answer, output))
        return
    own = answer.get("cpuset")
    where = f"CPU {own}" if own else f"the shared pool, CPU {answer.get('allowed', '')}"
    screen.out().print(f"{name} has {where} of {answer.get('node', '')}")
    if answer.get("why"):
        screen.out().print(f"  {answer['why']}", style="dim")


@click.command()
@_instance
@namespaced
@current
def explain(invocation: Invocation, /, output: str | None, **asked: Any) -> None:
    """Show every node, the takers first, and all reasons of those that would not take the instance.

    \b
    Example:
      bmctl cpu explain --app db --cpus 8
    """  # noqa: D301  (click takes \b as a mark)
    with open_api(invocation) as api:
        answer = api.transport.ask("POST", explanations(api.namespace), body=_body(asked))
    if output:
        click.echo(dumped(answer, output))
        return
    rows = []
    for node in answer.get("nodes") or []:
        reasons = node.get("reasons") or []
        score = "-" if reasons else f"{float(node.get('score', 0)):.3f}"
        rows.append([str(node.get("node", "")), "no" if reasons else "yes", score, "; ".join(reasons) or "takes it"])
    for line in Columns(["node", "takes", "score", "reasons"]).lines(rows):
        screen.out().print(line)
