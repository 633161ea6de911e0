"""What a fake SPDK answers when it refuses, with the codes of the real one."""

import errno

PARAMS, INTERNAL, UNKNOWN_METHOD, WRONG_STATE, REQUEST = -32602, -32603, -32601, -1, -32600


class RefusalError(Exception):
    """A call that is answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class DiedError(BaseException):
    """The process is gone: nothing is answered any more."""


def by_errno(number: int) -> RefusalError:
    """A bdev-layer refusal: the negative errno with its text."""
    return RefusalError(
        -number, {errno.EEXIST: "File exists", errno.ENODEV: "No such device"}.get(number, f"E{number}")
    )


def bad_params(message: str = "Invalid parameters") -> RefusalError:
    """What nvmf, vhost and lvol calls say for nearly everything."""
    return RefusalError(PARAMS, message)
