"""Replies of an SPDK process, cut out of its byte stream; each is one line, but no release promises that."""

import json
from typing import Any

import msgspec

LONGEST_REPLY_BYTES = 64 * 1024 * 1024
"""Twice what the server can send."""

_TRUNCATED = "Input data was truncated"


class ReplyError(msgspec.Struct):
    """What a refusal says."""

    code: int
    message: str = ""


class Reply(msgspec.Struct):
    """One reply; the result stays raw until its reader's type is known."""

    id: int | str | float | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: ReplyError | None = None


class Replies:
    """Turns chunks into replies."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Reply)
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[Reply]:
        """Replies that are complete now.

        Raises:
            ValueError: the stream is no JSON, or one reply is longer than any can be.
        """
        self._rest += chunk
        found: list[Reply] = []
        begin = at = 0
        while (end := self._rest.find(b"\n", at)) >= 0:
            read = self._read(bytes(self._rest[begin:end]).strip())
            at = end + 1
            if read is not None:
                found += read
                begin = at
        begin = self._without_newline(begin, found)
        del self._rest[:begin]
        if len(self._rest) > LONGEST_REPLY_BYTES:
            raise ValueError("a reply has no end")
        return found

    def _without_newline(self, begin: int, found: list[Reply]) -> int:
        """A last reply without a newline, from a server that does not send them."""
        if self._rest.endswith((b"}", b"]")):
            read = self._read(bytes(self._rest[begin:]).strip())
            if read is not None:
                found += read
                return len(self._rest)
        return begin

    def _read(self, text: bytes) -> list[Reply] | None:
        """Replies of a text, None when its end is missing."""
        if not text:
            return []
        try:
            return [self._decoder.decode(text)]
        except msgspec.ValidationError as error:
            raise ValueError(f"no reply: {error}") from error
        except msgspec.DecodeError as error:
            return None if str(error) == _TRUNCATED else _several(text)


def _several(text: bytes) -> list[Reply] | None:
    """Objects one after the other; None when the last is not complete, or the text goes over several lines."""
    decoder = json.JSONDecoder()
    whole, position = text.decode(), 0
    values: list[Any] = []
    while position < len(whole):
        if whole[position].isspace():
            position += 1
            continue
        try:
            value, position = decoder.raw_decode(whole, position)
        except json.JSONDecodeError as error:
            if error.pos >= len(whole):
                return None
            raise ValueError(f"no JSON: {error}") from error
        values.append(value)
    return [msgspec.convert(_raw_result(value), Reply) for value in values]


def _raw_result(value: Any) -> Any:
    if isinstance(value, dict) and "result" in value:
        return {**value, "result": msgspec.Raw(msgspec.json.encode(value["result"]))}
    return value
