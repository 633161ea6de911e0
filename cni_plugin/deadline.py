"""One alarm over everything that a call waits for: standard input, the connection, the answer."""

import _signal  # type: ignore[import-not-found]  # no stub; `signal` would import `enum`

_RING_AGAIN_S = 0.1
"""The first ring may fall between two lines, just before a call that blocks."""


class LateError(Exception):
    """The alarm rang."""


def start_alarm(seconds: float) -> None:
    """Raise LateError in this thread, whatever it waits for, after so many seconds."""
    _signal.signal(_signal.SIGALRM, _ring)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGALRM,))  # a parent's mask survives exec
    _signal.setitimer(_signal.ITIMER_REAL, seconds, _RING_AGAIN_S)


def alarm_left_s() -> float:
    """Seconds until the alarm."""
    return float(_signal.getitimer(_signal.ITIMER_REAL)[0])


def stop_alarm() -> None:
    """No alarm any more."""
    _signal.signal(_signal.SIGALRM, _signal.SIG_IGN)
    _signal.setitimer(_signal.ITIMER_REAL, 0.0)


def end_process_after(seconds: float) -> None:
    """Let the alarm end the process: what is left to do is to print, and nobody reads."""
    _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
    _signal.setitimer(_signal.ITIMER_REAL, seconds)


def _ring(*_: object) -> None:
    raise LateError
