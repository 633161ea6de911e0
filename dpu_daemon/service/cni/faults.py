"""CNI errors: the codes of the specification, and those of proto.reasons. Source: CNI SPEC 1.1.0, section 5."""

from enum import IntEnum

import msgspec

from proto.errors import DpuError
from proto.reasons import WIRE, Reason

NETNS = "CNI_NETNS"
NO_REMEDY = "see the log of dpu-daemon on this node (journalctl -u dpu-daemon)"


class CniCode(IntEnum):
    """Codes of the specification that no reason of ours stands for."""

    INCOMPATIBLE_VERSION = 1
    UNSUPPORTED_FIELD = 2
    BAD_ENVIRONMENT = 4
    IO_FAILURE = 5
    DECODE_FAILURE = 6
    INVALID_CONFIG = 7
    INVALID_NETNS = 8


class CniError(Exception):
    """A call that is refused, or failed.

    Args:
        code: of CNI.
        message: one sentence that names the variable, key or object.
        remedy: what the reader can do; the error's ``details``.
    """

    def __init__(self, code: int, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy


def from_error(error: DpuError) -> CniError:
    """An error of ours as CNI has it: one code for each reason."""
    code = error.wire.cni
    if error.field == NETNS and error.reason in {Reason.INVALID, Reason.NOT_FOUND, Reason.FORBIDDEN}:
        code = CniCode.INVALID_NETNS
    message = f"{error.field}: {error.message}" if error.field else error.message
    return CniError(code, message, error.remedy or NO_REMEDY)


def unready(error: DpuError) -> CniError:
    """An error of STATUS: whatever keeps it from an answer in time keeps an ADD from being served."""
    told, unavailable = from_error(error), WIRE[Reason.UNAVAILABLE].cni
    return CniError(unavailable, told.message, told.remedy) if told.code == WIRE[Reason.DEADLINE].cni else told


def to_output(error: CniError, version: str) -> bytes:
    """The object for standard output."""
    return msgspec.json.encode(
        {"cniVersion": version, "code": int(error.code), "msg": error.message, "details": error.remedy}
    )


def show(value: object) -> str:
    """A value for a message, cut short."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."


def invalid(key: str, what: str, remedy: str) -> CniError:
    """A key whose value cannot be meant."""
    return CniError(CniCode.INVALID_CONFIG, f"{key}: {what}", remedy)


def unsupported(key: str, value: object, remedy: str) -> CniError:
    """A key that is not supported; names key and value, as the specification asks."""
    return CniError(CniCode.UNSUPPORTED_FIELD, f"{key}: {show(value)} is not supported", remedy)
