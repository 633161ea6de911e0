"""The dpu-csi program: `dpu-csi --config F`."""

import asyncio
import logging
import os
import sys
from pathlib import Path

import click
import structlog

from csi_plugin import config
from csi_plugin.config import Config, LogLevel
from csi_plugin.program import run
from proto.errors import DpuError
from proto.reasons import Reason

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: a restart does not help."""
EXIT_UNUSABLE = 74
"""EX_IOERR of sysexits.h: a socket cannot be made."""
EXIT_REFUSED = 69
"""EX_UNAVAILABLE of sysexits.h: kubelet said no; a restart asks again."""


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The settings, a TOML file.")
@click.version_option(package_name="dpupool")
def main(path: Path) -> None:
    """Serve CSI Identity and Node, and register the plug-in with kubelet where that is enabled."""
    settings = _settings(path)
    log_to_stderr(settings.log_level)
    try:
        asyncio.run(run(settings))
    except DpuError as error:
        structlog.get_logger("csi_plugin").error(str(error), reason=error.reason.value, field=error.field)
        sys.exit(EXIT_REFUSED if error.reason is Reason.FORBIDDEN else EXIT_UNUSABLE)


def _settings(path: Path) -> Config:
    try:
        return config.load(path, os.environ)
    except DpuError as error:
        click.echo(f"dpu-csi: {error}", err=True)
        sys.exit(EXIT_CONFIG)


def log_to_stderr(level: LogLevel) -> None:
    """One JSON line per event on standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.name]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


if __name__ == "__main__":
    main()
