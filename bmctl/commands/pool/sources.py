"""Files that the pool commands read; every error names the file."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from bmctl import screen
from proto.errors import DpuError
from proto.reasons import Reason

STANDARD_INPUT = "-"
_Thing = TypeVar("_Thing")


@contextmanager
def named(source: str) -> Iterator[None]:
    """Put the file's name before what is wrong with it."""
    try:
        yield
    except DpuError as error:
        message = f"{_shown(source)}: {error.message}"
        raise DpuError(error.reason, message, field=error.field, remedy=error.remedy) from error


def text_of(source: str) -> bytes:
    """The bytes of a file, or of standard input for ``-``.

    Raises:
        DpuError: NOT_FOUND when it is not there, INVALID when it cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if source == STANDARD_INPUT else Path(source).read_bytes()
    except FileNotFoundError:
        raise DpuError(Reason.NOT_FOUND, f"{source} is not there", field=source, remedy="check the name") from None
    except OSError as error:
        message = f"{source} cannot be read: {error.strerror}"
        raise DpuError(Reason.INVALID, message, field=source, remedy="check the name and its permissions") from error


def document_of(source: str) -> Any:
    """A JSON or YAML file's content.

    Raises:
        DpuError: INVALID with line and column when it is neither.
    """
    text = text_of(source)
    if text.lstrip()[:1] in {b"{", b"["}:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            if source.endswith(".json"):
                remedy = "save the output of kubectl get -o json"
                raise DpuError(Reason.INVALID, f"{_shown(source)} is no JSON: {error}", remedy=remedy) from error
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"{_shown(source)} is no YAML: {' '.join(str(error).split())}"
        raise DpuError(Reason.INVALID, message, remedy="correct the file") from error


def table_of(source: str, read: Callable[[list[str]], _Thing]) -> _Thing:
    """What a reader makes of the lines of a CSV file.

    Raises:
        DpuError: INVALID when it is no text, and the reader's, with the file's name.
    """
    with named(source):
        try:
            lines = text_of(source).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DpuError(Reason.INVALID, "this is no text", field="header", remedy="give a CSV file") from error
        return read(lines)


def written(path: Path, content: bytes, option: str) -> None:
    """Write what an option asked for, and say so.

    Raises:
        DpuError: INVALID when the file cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        message, remedy = f"{path} cannot be written: {error.strerror}", "name a file in a folder that is there"
        raise DpuError(Reason.INVALID, message, field=option, remedy=remedy) from error
    screen.err().print(f"wrote {path}", style="dim")


def _shown(source: str) -> str:
    return "standard input" if source == STANDARD_INPUT else source
