"""JSON-RPC 2.0 on lines of text: parsing, parameter checks, answers. What the methods mean is told in pcie.py."""

from typing import TypeVar

import msgspec

from proto.errors import DpuError
from proto.reasons import Reason

LINE_LIMIT_BYTES = 1024 * 1024
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602

# Reason -> the link's word for it and the JSON-RPC code, from the range left to applications.
WORDS: dict[Reason, tuple[str, int]] = {
    Reason.INVALID: ("invalid", INVALID_PARAMS),
    Reason.IN_USE: ("in_use", -32001),
    Reason.WRONG_STATE: ("in_use", -32001),
    Reason.NOT_FOUND: ("not_found", -32002),
    Reason.DEADLINE: ("timeout", -32003),
    Reason.UNSUPPORTED: ("unsupported", -32004),
    Reason.UNAVAILABLE: ("unavailable", -32005),
}
OTHERWISE = ("internal", -32006)


class Request(msgspec.Struct, frozen=True):
    """A call; parameters are decoded when the method is known."""

    method: str
    id: int | str | None = None
    jsonrpc: str = "2.0"
    params: msgspec.Raw = msgspec.Raw(b"{}")


class Unplug(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of bus.unplug_disk and bus.unplug_nic."""

    slot: int
    function_id: str
    timeout_s: float = 10.0
    force: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= 600:
            raise ValueError("timeout_s must be more than 0 and at most 600")


class SizeWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of bus.resize_disk."""

    slot: int
    size_bytes: int

    def __post_init__(self) -> None:
        if self.size_bytes <= 0 or self.size_bytes % 512:
            raise ValueError("size_bytes must be a positive multiple of 512")


class SetLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of bus.set_link."""

    slot: int
    up: bool


P = TypeVar("P")


def parse(line: bytes) -> Request:
    """Read one request.

    Raises:
        DpuError: INVALID for anything else.
    """
    try:
        request = msgspec.json.decode(line, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise DpuError(
            Reason.INVALID, f"not a JSON-RPC request: {failure}", remedy="send one object a line"
        ) from failure
    if request.jsonrpc != "2.0":
        raise DpuError(
            Reason.INVALID, f"JSON-RPC {request.jsonrpc} is not spoken here", field="jsonrpc", remedy="use 2.0"
        )
    return request


def parameters(raw: bytes, kind: type[P]) -> P:
    """Read a method's parameters.

    Raises:
        DpuError: INVALID, naming the parameter.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        said, _, where = str(failure).partition(" - at ")
        field = where.strip("`").removeprefix("$.")
        raise DpuError(Reason.INVALID, said, field=field, remedy="correct this parameter") from failure


def result_line(identity: int | str | None, result: object) -> bytes:
    """The answer to a call that succeeded."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": identity, "result": result}) + b"\n"


def failure_line(identity: int | str | None, failure: DpuError) -> bytes:
    """The answer to a call that failed."""
    word, code = WORDS.get(failure.reason, OTHERWISE)
    data = {"reason": word, "field": failure.field, "remedy": failure.remedy}
    error = {"code": code, "message": failure.message, "data": data}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": identity, "error": error}) + b"\n"
