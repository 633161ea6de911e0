"""bmctl: servers with DPUs from the command line."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from bmctl.exits import EXIT_OF, Exit
from bmctl.invocation import connected
from bmctl.lazy import LazyGroup
from proto.errors import DpuError

COMMANDS: dict[str, tuple[str, str]] = {
    "get": ("bmctl.commands.get:get", "Show objects: machines, hosts, volumes, ..."),
    "describe": ("bmctl.commands.describe:describe", "Show one object with its conditions, timeline and events."),
    "timeline": ("bmctl.commands.timeline:timeline", "Show a machine's phases and how long each took."),
    "create": ("bmctl.commands.create:create", "Create a machine, or what a file says."),
    "apply": ("bmctl.commands.apply:apply", "Make objects what a file says, creating what is missing."),
    "delete": ("bmctl.commands.delete:delete", "Delete objects."),
    "start": ("bmctl.commands.power:start", "Power a machine on."),
    "stop": ("bmctl.commands.power:stop", "Shut a machine down."),
    "restart": ("bmctl.commands.power:restart", "Restart a machine."),
    "console": ("bmctl.commands.console:console", "Open a machine's serial console."),
    "disk": ("bmctl.commands.disk:disk", "Attach and detach data disks of a running machine."),
    "nic": ("bmctl.commands.nic:nic", "Attach and detach NICs of a running machine."),
    "volume": ("bmctl.commands.volume:volume", "Volumes: list, create, clone, snapshot, attach, grow, limit, explain."),
    "cpu": ("bmctl.commands.cpu:cpu", "CPUs of nodes: who holds which, and instances that come, go and are lifted."),
    "resize": ("bmctl.commands.resize:resize", "Give a running pod's containers other sizes."),
    "pool": ("bmctl.commands.pool:pool", "Pools of servers: who has them, what the autoscaler would do, and what-if."),
    "offload": ("bmctl.commands.offload:offload", "Show which traffic is in hardware, which is not, and why."),
    "kubeconfig": ("bmctl.commands.kubeconfig:kubeconfig", "Print or merge the credentials in use."),
    "lab": ("lab.cli:lab", "The whole system on this one machine."),
    "completion": ("bmctl.commands.completion:completion", "Print the shell's completion script."),
    "version": ("bmctl.commands.version:version", "Show the versions of bmctl and of the server."),
}


class Bmctl(LazyGroup):
    """The program: its commands, and how it ends when one fails."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a DpuError ends the program with its exit status."""
        try:
            return super().invoke(ctx)
        except DpuError as error:
            show(error)
            ctx.exit(EXIT_OF[error.reason])
        except KeyboardInterrupt:
            ctx.exit(Exit.INTERRUPTED)
        except BrokenPipeError:
            sys.stderr.close()
            ctx.exit(Exit.FAILED)


@click.group(
    cls=Bmctl, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@connected
def bmctl() -> None:
    """Servers with DPUs as one pool: machines that boot from disks which their DPUs give them.

    Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict, 5 refused, 6 unreachable, 7 timeout,
    8 invalid input, 130 interrupted.
    """


def show(error: DpuError) -> None:
    """Print an error: what, which field, what to do."""
    parts = [(click.style("error: ", fg="red", bold=True), error.message)]
    if error.field and error.field not in error.message:
        parts.append((click.style("  field:  ", dim=True), error.field))
    if error.remedy and error.remedy not in error.message:
        parts.append((click.style("  remedy: ", dim=True), error.remedy))
    for label, text in parts:
        click.echo(label + text, err=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the ``bmctl`` script."""
    bmctl.main(args=list(arguments) if arguments is not None else None, prog_name="bmctl")


if __name__ == "__main__":
    main()
