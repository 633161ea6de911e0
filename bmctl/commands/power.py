"""bmctl start, stop and restart."""

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.completing import names_of
from bmctl.goals import Goal, restarted, running, stopped
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import MACHINE
from bmctl.objects import Object, dig, name_of
from bmctl.waiting import wait_for, waitable


@click.command()
@click.argument("machine", shell_complete=names_of(MACHINE))
@waitable
@namespaced
@current
def start(invocation: Invocation, machine: str, wait: bool, timeout_s: float) -> None:
    """Power a machine on."""
    with open_api(invocation) as api:
        asked = api.act("PUT", machine, "start")
        _finish(api, asked, "starting", running(machine), timeout_s, wait=wait)


@click.command()
@click.argument("machine", shell_complete=names_of(MACHINE))
@waitable
@namespaced
@current
def stop(invocation: Invocation, machine: str, wait: bool, timeout_s: float) -> None:
    """Shut a machine down: its operating system is asked first, power is cut when it does not obey."""
    with open_api(invocation) as api:
        asked = api.act("PUT", machine, "stop")
        _finish(api, asked, "stopping", stopped(machine), timeout_s, wait=wait)


@click.command()
@click.argument("machine", shell_complete=names_of(MACHINE))
@waitable
@namespaced
@current
def restart(invocation: Invocation, machine: str, wait: bool, timeout_s: float) -> None:
    """Restart a running machine once."""
    with open_api(invocation) as api:
        asked = api.act("PUT", machine, "restart")
        goal = restarted(machine, str(dig(asked, "spec.restartedAt", "")))
        _finish(api, asked, "restarting", goal, timeout_s, wait=wait)


def _finish(api: Api, machine: Object, doing: str, goal: Goal, timeout_s: float, *, wait: bool) -> None:
    if wait:
        wait_for(api, MACHINE, name_of(machine), goal, timeout_s, machine)
        screen.out().print(goal.sentence, style="green")
    else:
        screen.out().print(f"machine/{name_of(machine)} {doing}")
