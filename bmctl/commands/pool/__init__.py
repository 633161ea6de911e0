"""bmctl pool: the autoscaler's view of the servers, decided by the code that runs in production."""

import click

from bmctl.lazy import LazyGroup

COMMANDS = {
    "status": ("bmctl.commands.pool.status:status", "Show who owns, who borrows and who waits for servers."),
    "plan": ("bmctl.commands.pool.plan:plan", "Show what one loop would add and remove, and change nothing."),
    "explain": ("bmctl.commands.pool.explain:explain", "Show why a pod waits or a node stays, and what would help."),
    "simulate": ("bmctl.commands.pool.simulate:simulate", "Play a dump or a trace forward: machines, waiting, cost."),
    "replay": ("bmctl.commands.pool.replay:replay", "Decide a recorded loop again and compare."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def pool() -> None:
    """One pool of servers: its state, its next decision, its reasons, and what-if."""
