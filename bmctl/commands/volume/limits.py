"""Limits of disks on the command line: options, what they change, and how they are told."""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

import click

from bmctl.objects import Object, dig
from bmctl.units import SUFFIX, size
from proto.errors import DpuError
from proto.reasons import Reason

Command = TypeVar("Command", bound=Callable[..., object])
Limits = dict[str, int]

NUMBER = re.compile(rf"(?P<digits>[0-9]{{1,18}})(?P<suffix>{'|'.join(SUFFIX)}|)")

OPTIONS = {
    "iops": ("iops", "Operations a second, reads and writes together."),
    "bandwidth": ("bytesPerSecond", "Bytes a second, reads and writes together, such as 200Mi."),
    "read-iops": ("readIops", "Reads a second."),
    "write-iops": ("writeIops", "Writes a second."),
    "read-bandwidth": ("readBytesPerSecond", "Bytes read a second."),
    "write-bandwidth": ("writeBytesPerSecond", "Bytes written a second."),
}
"""Option to field of spec.qos and help."""

SPLIT = {"iops": ("readIops", "writeIops"), "bytesPerSecond": ("readBytesPerSecond", "writeBytesPerSecond")}
"""A total to what it excludes."""

WORDS = {
    "iops": "{} op/s",
    "bytesPerSecond": "{}/s",
    "readIops": "{} reads/s",
    "writeIops": "{} writes/s",
    "readBytesPerSecond": "{}/s read",
    "writeBytesPerSecond": "{}/s written",
}


def _rate(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    """A whole number, 0 or more, with an optional suffix such as k or Mi; wrong usage when it is none."""
    if text is None:
        return None
    found = NUMBER.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is not a number such as 500, 2k or 200Mi; 0 is unlimited")
    return int(found["digits"]) * SUFFIX.get(found["suffix"], 1)


def limiting(command: Command) -> Command:
    """Give a command an option for each limit; they arrive as keywords, None where not given."""
    for option, (_, text) in reversed(OPTIONS.items()):
        command = click.option(f"--{option}", callback=_rate, metavar="N", help=f"{text} 0 is unlimited.")(command)
    return command


def said(options: Mapping[str, object]) -> Limits:
    """The limits that were given, by field of spec.qos, taken from a command's keywords."""
    given = {field: options.get(option.replace("-", "_")) for option, (field, _) in OPTIONS.items()}
    return {field: int(str(value)) for field, value in given.items() if value is not None}


def merged(now: Mapping[str, int], change: Mapping[str, int]) -> Limits:
    """The limits after a change; 0 takes one away.

    Raises:
        DpuError: INVALID; a total and a part of it would both hold.
    """
    result = {field: value for field, value in (dict(now) | dict(change)).items() if value}
    for total, parts in SPLIT.items():
        beside = [part for part in parts if part in result]
        if total in result and beside:
            message = f"reads and writes have one limit together or one each, not {total} and {beside[0]}"
            away = " ".join(f"{_option(part)} 0" for part in beside)
            remedy = f"take one away: {away}, or {_option(total)} 0"
            raise DpuError(Reason.INVALID, message, field=f"spec.qos.{total}", remedy=remedy)
    return result


def limits_of(obj: Object, path: str) -> Limits:
    """The limits at a path of an object, less those that are unlimited."""
    found = dig(obj, path) or {}
    return {field: int(found[field]) for field in WORDS if found.get(field)}


def effective(volume: Object, attachment: Object) -> Limits:
    """The limits of a disk: the attachment's when it says any, else the volume's."""
    own = any(value is not None for value in (dig(attachment, "spec.qos") or {}).values())
    return limits_of(attachment if own else volume, "spec.qos")


def told(limits: Mapping[str, int]) -> str:
    """Limits in words; empty for none."""
    parts = []
    for field, words in WORDS.items():
        value = limits.get(field)
        if value:
            parts.append(words.format(size(value) if "ytes" in field else f"{value:,}"))
    return ", ".join(parts)


def _option(field: str) -> str:
    return next(f"--{option}" for option, (known, _) in OPTIONS.items() if known == field)
