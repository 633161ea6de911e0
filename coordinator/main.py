"""The dpu-coordinator program: `dpu-coordinator --config F`."""

import asyncio
import logging
import sys
from pathlib import Path

import click
import structlog

from coordinator import config
from coordinator.config import Config
from coordinator.program import run
from proto.errors import DpuError

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: a restart does not help."""
EXIT_UNUSABLE = 74
"""EX_IOERR of sysexits.h: the database or an address cannot be used."""


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The settings, a TOML file.")
@click.option("--log", "form", type=click.Choice(["json", "text"]), default="json", help="Form of the log on stderr.")
@click.version_option(package_name="dpupool")
def main(path: Path, form: str) -> None:
    """Serve the API and lead machines through their life."""
    settings = _settings(path)
    log_to_stderr(form, settings.log_level)
    try:
        asyncio.run(run(settings))
    except DpuError as error:
        structlog.get_logger("coordinator").error(str(error), reason=error.reason.value, field=error.field)
        sys.exit(EXIT_UNUSABLE)


def _settings(path: Path) -> Config:
    try:
        return config.load(path)
    except DpuError as error:
        click.echo(f"dpu-coordinator: {error}", err=True)
        sys.exit(EXIT_CONFIG)


def log_to_stderr(form: str, level: str) -> None:
    """One line per event on standard error, JSON for machines or text for people."""
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if form == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    lowest = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


if __name__ == "__main__":
    main()
