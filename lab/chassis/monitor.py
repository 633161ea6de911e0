"""One QMP session with the host's QEMU: commands with deadlines, events to a callback, errors as DpuError."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qemu.qmp import ExecInterruptedError, ExecuteError, QMPClient, QMPError
from qemu.qmp.protocol import ConnectError, StateError

from proto.errors import DpuError
from proto.reasons import Reason

COMMAND_TIMEOUT_S = 30.0  # blockdev-add waits 5 s for an absent NBD server; nothing we ask takes longer

EventHandler = Callable[[str, Mapping[str, Any]], None]


class CommandRefusedError(DpuError):
    """QEMU answered with an error; its class says little, so callers decide by looking again."""

    def __init__(self, command: str, message: str, error_class: str) -> None:
        super().__init__(Reason.INTERNAL, f"QEMU refused {command}: {message}")
        self.error_class = error_class


class Monitor:
    """An open session.

    Args:
        on_event: called in the loop with the event's name and data; must not block.
    """

    def __init__(self, on_event: EventHandler) -> None:
        self._client = QMPClient("host")
        self._on_event = on_event
        self._pump: asyncio.Task[None] | None = None

    async def connect(self, path: Path, timeout_s: float) -> None:
        """Open the session.

        Raises:
            DpuError: UNAVAILABLE when QEMU does not greet in time or ends first.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._client.connect(str(path))
        except TimeoutError as failure:
            await self.close()
            raise DpuError(Reason.UNAVAILABLE, f"QEMU does not answer within {timeout_s:g} s") from failure
        except (ConnectError, OSError, EOFError) as failure:
            await self.close()
            raise DpuError(Reason.UNAVAILABLE, f"QEMU does not answer: {failure}") from failure
        self._pump = asyncio.create_task(self._deliver())

    async def _deliver(self) -> None:
        async for event in self._client.events:
            data = event.get("data")
            self._on_event(str(event["event"]), data if isinstance(data, dict) else {})

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """Run a command and return its value.

        Raises:
            CommandRefusedError: QEMU answered with an error.
            DpuError: UNAVAILABLE when QEMU went away, DEADLINE when it does not answer.
        """
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                return await self._client.execute(command, dict(arguments or {}))
        except ExecuteError as refusal:
            raise CommandRefusedError(command, str(refusal), refusal.error_class) from refusal
        except TimeoutError as failure:
            raise DpuError(Reason.DEADLINE, f"QEMU did not answer {command} in {COMMAND_TIMEOUT_S:g} s") from failure
        except (ExecInterruptedError, StateError, OSError, EOFError) as failure:
            raise DpuError(Reason.UNAVAILABLE, f"the host's QEMU ended during {command}") from failure

    async def human(self, line: str) -> str:
        """Run a line of the human monitor, for the few things that QMP has no command for."""
        return str(await self.execute("human-monitor-command", {"command-line": line}))

    async def close(self) -> None:
        """End the session; QEMU goes on."""
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
            self._pump = None
        with contextlib.suppress(EOFError, OSError, QMPError, asyncio.CancelledError):
            await self._client.disconnect()
