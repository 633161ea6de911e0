"""Frames of a call on the daemon's side; cni_plugin.frame is the other one, docs/cni.md describes both."""

import asyncio
import struct
from collections.abc import Mapping
from dataclasses import dataclass

MAGIC = b"dpucni1\n"
FAMILY = b"dpucni"
"""How frames of every version begin."""
ENVIRONMENT_MAX_BYTES = 1 << 20
CONFIG_MAX_BYTES = 4 << 20
OUTPUT_MAX_BYTES = 4 << 20
_HEAD = struct.Struct(">8sIII")
_ANSWER = struct.Struct(">8sII")


class FrameError(Exception):
    """What arrived is no call; says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """What arrived.

    Attributes:
        left_ms: milliseconds until nobody listens.
        environment: of the plug-in, decoded; bytes that are no UTF-8 become lone surrogates.
        config: standard input, verbatim.
    """

    left_ms: int
    environment: Mapping[str, str]
    config: bytes


async def read_call(reader: asyncio.StreamReader) -> Call:
    """The call of a connection.

    Raises:
        FrameError: it is none.
        EOFError: the connection ended before.
    """
    magic, left_ms, names_bytes, config_bytes = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if magic != MAGIC:
        other = "another version of dpu-cni" if magic.startswith(FAMILY) else "not dpu-cni"
        raise FrameError(f"{other} calls: it begins with {magic!r}")
    if names_bytes > ENVIRONMENT_MAX_BYTES or config_bytes > CONFIG_MAX_BYTES:
        raise FrameError(f"it announces {names_bytes} bytes of environment and {config_bytes} of configuration")
    pairs = (await reader.readexactly(names_bytes)).decode("utf-8", "surrogateescape").split("\0")
    config = await reader.readexactly(config_bytes)
    if pairs.pop():
        raise FrameError("its environment does not end with a NUL")
    named = (pair.partition("=") for pair in pairs)
    return Call(left_ms, {name: value for name, _, value in named}, config)


def answer(status: int, output: bytes) -> bytes:
    """The frame of an answer."""
    return _ANSWER.pack(MAGIC, status, len(output)) + output
