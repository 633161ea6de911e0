"""Calls that may never come back: a file system without its disk holds its caller for ever.

Each has a thread of its own, which nothing waits for: neither other calls, as in a pool that fills up, nor the end of
the process.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_hanging: dict[str, threading.Thread] = {}


async def in_thread(name: str, act: Callable[[], _T], timeout_s: float) -> _T:
    """Run a blocking call.

    Args:
        name: tells what hangs from what does not, such as the call and its path.
        act: the call; goes on when the time is over.
        timeout_s: how long its answer is waited for.

    Raises:
        TimeoutError: there is none in time, or an earlier call of this name still hangs.
    """
    earlier = _hanging.get(name)
    if earlier is not None and earlier.is_alive():
        raise TimeoutError(f"an earlier {name} has not come back")
    _hanging.pop(name, None)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_T] = loop.create_future()

    def deliver(result: _T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]  # None is what such a call returns

    def run() -> None:
        result, failed = None, None
        try:
            result = act()
        except BaseException as error:  # noqa: BLE001 (the outermost frame of a thread: its caller gets whatever it was)
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop ended meanwhile
            loop.call_soon_threadsafe(deliver, result, failed)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        return await asyncio.wait_for(answer, timeout_s)
    except TimeoutError:
        _hanging[name] = thread
        raise
