"""bmctl cpu: who holds which CPU, and instances that are placed, released and lifted."""

import click

from bmctl.lazy import LazyGroup

COMMANDS = {
    "map": (
        "bmctl.commands.cpu.map:show_map",
        "Show a node's sockets, NUMA nodes, cores and threads, and who holds them.",
    ),
    "place": ("bmctl.commands.cpu.placing:place", "Have CPUs kept for an instance."),
    "explain": ("bmctl.commands.cpu.placing:explain", "Show which nodes would take an instance, and why others not."),
    "release": ("bmctl.commands.cpu.holding:release", "Give an instance's CPUs back for good."),
    "lift": ("bmctl.commands.cpu.holding:lift", "Let an exclusive instance on the shared pool besides, for a peak."),
    "restore": ("bmctl.commands.cpu.holding:restore", "Put a lifted instance back on its own CPUs."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def cpu() -> None:
    """CPUs of nodes: exclusive, shared and reserved ones."""
