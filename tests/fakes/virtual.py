"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

START = datetime(2026, 1, 1, tzinfo=UTC)


class _Impatient(selectors.DefaultSelector):
    """Never waits; tells how long it was asked to."""

    def __init__(self, skip: Callable[[float], None]) -> None:
        super().__init__()
        self._skip = skip

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing will ever happen: no timer, nothing ready")
            self._skip(max(timeout, 0.0))
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in virtual time. It begins at 1000 s."""

    def __init__(self) -> None:
        self._virtual_s = 1000.0
        super().__init__(_Impatient(self._advance))

    def time(self) -> float:
        return self._virtual_s

    def now(self) -> datetime:
        """The virtual time of day."""
        return START + timedelta(seconds=self._virtual_s)

    def _advance(self, seconds: float) -> None:
        self._virtual_s += seconds


def in_virtual_time(make: Callable[[VirtualLoop], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(make(loop))


def monotonic_of(loop: VirtualLoop) -> Mapping[str, Any]:
    """Stands in for the module `time` where only monotonic is asked of it."""
    return {"time": SimpleNamespace(monotonic=loop.time)}


async def at_once(function: Callable[..., Any], *args: Any) -> Any:
    """Compute here and now: a thread would work in real time."""
    return function(*args)
