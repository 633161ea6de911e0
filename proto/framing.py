"""Cuts a byte stream into JSON objects and arrays; neither newlines nor lengths are needed between them."""

import re
from itertools import accumulate
from typing import Any

import msgspec

LONGEST_MESSAGE_BYTES = 256 * 1024 * 1024
"""Far above a full copy of a large database; more is garbage that never becomes a message."""

_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_STEPS = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_TOKEN = re.compile(rb'\\.|["{}\[\]]', re.DOTALL)
_SPACE = b" \t\r\n"


class Framer:
    """Keeps what is not yet a whole value.

    Each byte is looked at once: a copy of a database comes in hundreds of pieces, and to try whether it is whole after
    each of them would take longer than all the rest.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._looked_at = 0
        self._depth = 0
        self._in_text = False

    def feed(self, chunk: bytes) -> list[Any]:
        """Complete values so far.

        Raises:
            ValueError: no JSON, or more than any message can be without being one.
        """
        self._rest += chunk
        values: list[Any] = []
        while (end := self._end()) is not None:
            values.append(msgspec.json.decode(bytes(self._rest[:end])))
            del self._rest[:end]
            self._looked_at = 0
        if len(self._rest) > LONGEST_MESSAGE_BYTES:
            raise ValueError("the other side does not end its message")
        return values

    def _end(self) -> int | None:
        """Where the first value ends; None while it does not."""
        if self._looked_at == 0:
            self._rest = self._rest.lstrip(_SPACE)
            if self._rest and self._rest[0] not in b"{[":
                raise ValueError("the other side does not speak JSON")
        whole = _without_half_an_escape(self._rest)
        if whole == self._looked_at:
            return None
        fresh = bytes(self._rest[self._looked_at : whole])
        if self._passes(fresh):
            self._looked_at = whole
            return None
        return self._search(fresh)

    def _passes(self, fresh: bytes) -> bool:
        """Whether no value ends in these bytes; if so they are counted."""
        pieces = (_ESCAPE.sub(b"", fresh) if b"\\" in fresh else fresh).split(b'"')
        outside = b"".join(pieces[1::2] if self._in_text else pieces[::2])
        steps = outside.translate(None, delete=_NOT_BRACKETS)
        depths = list(accumulate(map(_STEPS.__getitem__, steps), initial=self._depth))
        if len(depths) > 1 and min(depths[1:]) <= 0:
            return False
        self._depth = depths[-1]
        self._in_text ^= len(pieces) % 2 == 0
        return True

    def _search(self, fresh: bytes) -> int:
        depth, in_text = self._depth, self._in_text
        for token in _TOKEN.finditer(fresh):
            first = fresh[token.start()]
            if first == ord('"'):
                in_text = not in_text
            elif not in_text and first in _STEPS:
                depth += _STEPS[first]
                if depth == 0:
                    self._depth, self._in_text = 0, False
                    return self._looked_at + token.end()
        raise ValueError("the other side does not speak JSON")


def _without_half_an_escape(data: bytearray) -> int:
    """Length without a last backslash whose other half is still to come."""
    slashes = len(data) - len(data.rstrip(b"\\"))
    return len(data) - slashes % 2
