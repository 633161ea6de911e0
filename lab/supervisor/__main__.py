"""``python -m lab.supervisor [--detach] UNITS.json``: runs the units until SIGTERM or a stop request.

With ``--detach`` the caller gets its prompt back at once and the supervisor belongs to nobody's session.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from lab.supervisor import control
from lab.supervisor.reaper import Reaper, become_subreaper
from lab.supervisor.supervisor import Supervisor
from lab.supervisor.unit import SupervisorSettings, check_units
from proto.errors import DpuError


async def supervise(settings: SupervisorSettings, serving: Callable[[], None]) -> None:
    """Run until told to stop; ``serving`` is called once questions are answered."""
    loop = asyncio.get_running_loop()
    supervisor = Supervisor(settings, Reaper())
    server = await control.serve(Path(settings.run_dir) / "supervisor.sock", supervisor.answer)
    serving()
    stops: set[asyncio.Task[None]] = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: stops.add(asyncio.ensure_future(supervisor.stop())))
    supervisor.start()
    await supervisor.finished.wait()
    # The stop request's answer is on its way; the client closes after reading it.
    server.close()
    await asyncio.sleep(0.05)
    (Path(settings.run_dir) / "supervisor.sock").unlink(missing_ok=True)


def detach() -> int:
    """Go on in a child that belongs to nobody's session; returns a descriptor to tell the parent that it serves.

    The parent waits and ends here: with 0 once the child serves, with 1 when it ended before.
    """
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os._exit(0 if os.read(told, 1) else 1)
    os.close(told)
    os.setsid()
    return tell


def read_settings(path: Path) -> SupervisorSettings:
    """The settings, with their folders made.

    Raises:
        DpuError, msgspec.DecodeError: they cannot be run.
    """
    settings = msgspec.json.decode(path.read_bytes(), type=SupervisorSettings)
    check_units(settings.units)
    for folder in (settings.run_dir, settings.log_dir):
        Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    return settings


def main() -> int:
    """Exit code 1 and why when the units cannot be run."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ]
    )
    try:
        settings = read_settings(Path(sys.argv[-1]))
        tell = detach() if "--detach" in sys.argv else None
        os.umask(0o077)
        become_subreaper()
        asyncio.run(supervise(settings, lambda: None if tell is None else _tell(tell)))
    except (IndexError, OSError, msgspec.DecodeError, DpuError) as error:
        print(f"supervisor: {error!s}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _tell(descriptor: int) -> None:
    os.write(descriptor, b"1")
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
