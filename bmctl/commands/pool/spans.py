"""Spans of time on the command line: 90d, 36h, 15m, 20s, or seconds."""

import re

import click

_FORM = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)([smhdw]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds_of(text: str) -> float:
    """Seconds of a span.

    Raises:
        click.BadParameter: the text is no span.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise click.BadParameter(f"{text!r} is no span of time: write 90d, 36h, 15m or seconds")
    return float(form[1]) * _UNITS[form[2]]


def span(seconds: float) -> str:
    """A moment of a simulation as people read it: 12 s, 3.5 min, 7.2 h, 41.0 d."""
    for step, unit in ((2 * 86_400, "d"), (2 * 3600, "h"), (2 * 60, "min")):
        if seconds >= step:
            return f"{seconds / (step / 2):.1f} {unit}"
    return f"{seconds:.0f} s"
