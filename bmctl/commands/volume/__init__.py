"""bmctl volume: disks and their snapshots, and why each is in the state it is in."""

import click

from bmctl.lazy import LazyGroup

HERE = "bmctl.commands.volume"
COMMANDS = {
    "list": (f"{HERE}.listing:list_volumes", "Show volumes: size, source, limits, who has them, condition."),
    "create": (f"{HERE}.create:create", "Make a volume, blank or from an image or a snapshot."),
    "clone": (f"{HERE}.create:clone", "Make a volume out of another volume or a snapshot."),
    "snapshot": (f"{HERE}.snapshot:snapshot", "Keep what volumes hold now, several at one instant."),
    "attach": (f"{HERE}.attach:attach", "Show a volume to a host."),
    "detach": (f"{HERE}.attach:detach", "Take a volume from its host."),
    "resize": (f"{HERE}.change:resize", "Grow a volume, while it is used."),
    "qos": (f"{HERE}.change:qos", "Limit a volume, while it is used."),
    "stats": (f"{HERE}.stats:stats", "Show what a volume's disk moves, and how long that takes."),
    "explain": (f"{HERE}.explain:explain", "Show why a volume is in its state, and what to do."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def volume() -> None:
    """Volumes: bytes at a storage backend, shown to hosts by their DPUs."""
