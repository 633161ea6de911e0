"""bmctl completion."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    For this session: `source <(bmctl completion bash)`; for good, put that line into ~/.bashrc.
    """
    shell_class = get_completion_class(shell)
    if shell_class is None:
        raise click.UsageError(f"no completion for {shell}")
    root = ctx.find_root()
    click.echo(shell_class(root.command, {}, "bmctl", "_BMCTL_COMPLETE").source())
