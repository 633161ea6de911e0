"""``python -m lab.chassis --config FILE.toml``: run one chassis until SIGTERM."""

import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

import click
import structlog

from lab.chassis.application import Chassis
from lab.chassis.config import ChassisConfig, read_config
from proto.errors import DpuError
from proto.supervision import notify, watchdog_pause_s

EXIT_CONFIG = 78  # EX_CONFIG: a restart will not help


@click.command()
@click.option(
    "--config", "path", type=click.Path(path_type=Path), required=True, help="settings of this chassis (TOML)"
)
def main(path: Path) -> None:
    """Run one emulated server: its mainboard, BMC and PCIe link."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        config = read_config(path)
    except DpuError as failure:
        click.echo(f"{path}: {failure}", err=True)
        sys.exit(EXIT_CONFIG)
    asyncio.run(run(config))


async def run(config: ChassisConfig) -> None:
    """Start, tell the supervisor, wait for SIGTERM or SIGINT, stop."""
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    chassis = Chassis(config)
    try:
        await chassis.start()
        notify("READY=1", f"STATUS=serving {chassis.url}")
        heartbeat = asyncio.create_task(beat())
        await told_to_stop.wait()
        heartbeat.cancel()
        notify("STOPPING=1")
    finally:
        await chassis.stop()


async def beat() -> None:
    """Tell the supervisor's watchdog that this loop still turns."""
    interval_s = watchdog_pause_s()
    while interval_s is not None:
        with contextlib.suppress(OSError):  # a supervisor that is gone does not watch
            notify("WATCHDOG=1")
        await asyncio.sleep(interval_s)


if __name__ == "__main__":
    main()
