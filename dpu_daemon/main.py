"""The dpu-daemon program: `dpu-daemon --config F` serves, `dpu-daemon check --config F` looks at the machine."""

import asyncio
import logging
import sys
from pathlib import Path

import click
import structlog

from dpu_daemon.config import Config, load
from dpu_daemon.daemon import run
from proto.errors import DpuError
from proto.reasons import Reason

EXIT_MISSING = 1
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: a restart does not help."""
EXIT_UNUSABLE = 74
"""EX_IOERR of sysexits.h: the journal or an address cannot be used now; a restart may help."""
EXIT_CORRUPT = 65
"""EX_DATAERR of sysexits.h: the journal is damaged; a person has to decide."""


@click.group(invoke_without_command=True)
@click.option("--config", type=click.Path(path_type=Path), default=None, help="The settings, a TOML file.")
@click.option("--log", type=click.Choice(["json", "text"]), default="json", help="Form of the log on standard error.")
@click.version_option(package_name="dpupool")
@click.pass_context
def main(context: click.Context, config: Path | None, log: str) -> None:
    """Own the storage and network of a DPU's host, a storage node's volumes, or the CPUs of a host's pods."""
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise click.UsageError("give the settings with --config")
    log_to_stderr(log)
    settings = _settings(config)
    try:
        asyncio.run(run(settings, config))
    except DpuError as error:
        structlog.get_logger("dpu_daemon").error(str(error), reason=error.reason.value)
        sys.exit(EXIT_CORRUPT if error.reason is Reason.CORRUPT else EXIT_UNUSABLE)


@main.command()
@click.option("--config", type=click.Path(path_type=Path), default=None, help="The settings, a TOML file.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Form of the answer.")
@click.pass_obj
def check(outer: Path | None, config: Path | None, output: str) -> None:
    """Say what is missing on this machine, and how to get it. Exits with 1 when something is."""
    path = config or outer
    if path is None:
        raise click.UsageError("give the settings with --config")
    from dpu_daemon.check import CheckFormat, examine, render  # noqa: PLC0415  (a daemon has no need of what a check reads)

    settings = _settings(path)
    findings = examine(settings)
    click.echo(render(findings, CheckFormat(output)))
    if not all(finding.passed for finding in findings):
        sys.exit(EXIT_MISSING)


def _settings(path: Path) -> Config:
    try:
        return load(path)
    except DpuError as error:
        click.echo(f"dpu-daemon: {error}", err=True)
        sys.exit(EXIT_CONFIG)


def log_to_stderr(form: str) -> None:
    """One line per event on standard error, JSON for machines or text for people."""
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if form == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


if __name__ == "__main__":
    main()
