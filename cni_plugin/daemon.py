"""The call to the node daemon, and what to say when it cannot be asked."""

import _socket
import posix

from cni_plugin.codes import FORBIDDEN, INTERNAL, TRY_LATER, UNAVAILABLE, CniError
from cni_plugin.deadline import alarm_left_s
from cni_plugin.frame import HEAD_BYTES, answer_head, check_output, request

MARGIN_S = 0.5
"""The daemon has this much less than we, so that its own sentence arrives instead of ours."""
READ_BYTES = 1 << 16
NOT_PERMITTED = (1, 13)
"""EPERM and EACCES; `errno` would be one more import."""


def ask(path: str, verb: str, config: bytes) -> tuple[int, bytes]:
    """Exit status and output of one call.

    Args:
        path: of the daemon's socket.
        verb: CNI_COMMAND.
        config: standard input.

    Raises:
        CniError: the daemon is away, went away, or what it answers cannot be used.
        LateError: from the alarm that the caller started.
    """
    left_ms = max(int((alarm_left_s() - MARGIN_S) * 1000), 1)
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError as failed:
        raise _away(path, verb, failed) from None
    try:
        connection.sendall(request(left_ms, posix.environ, config))
        status, output = _answer(connection)
        check_output(status, output, must_have_result=verb == "ADD")
    except OSError as failed:
        raise CniError(
            unavailable(verb),
            f"the dpupool daemon at {path} ended {verb} without an answer: {failed}",
            "it was probably restarted (journalctl -u dpu-daemon); the call may be repeated",
        ) from None
    except ValueError as wrong:
        raise CniError(
            INTERNAL,
            f"the answer of {path} to {verb} cannot be used: {wrong}",
            "install dpu-cni and dpu-daemon of one version, and let DPUPOOL_CNI_SOCKET name the daemon's socket",
        ) from None
    return status, output


def unavailable(verb: str) -> int:
    """The code for a daemon that cannot be asked: STATUS states it, the others are to be repeated."""
    return UNAVAILABLE if verb == "STATUS" else TRY_LATER


def _answer(connection: _socket.socket) -> tuple[int, bytes]:
    """Exit status and output.

    Raises:
        OSError: the connection ended before the answer did.
        ValueError: it is no answer of this protocol.
    """
    received = _receive(connection, b"", HEAD_BYTES)
    status, length = answer_head(received)
    received = _receive(connection, received, HEAD_BYTES + length)
    if len(received) > HEAD_BYTES + length:
        raise ValueError(f"{len(received) - HEAD_BYTES - length} bytes follow it")
    return status, received[HEAD_BYTES:]


def _receive(connection: _socket.socket, received: bytes, wanted: int) -> bytes:
    """What was received, grown to at least so many bytes."""
    chunks, length = [received], len(received)
    while length < wanted:
        chunk = connection.recv(READ_BYTES)
        if not chunk:
            raise OSError(f"the connection ended after {length} bytes")
        chunks.append(chunk)
        length += len(chunk)
    return b"".join(chunks)


def _away(path: str, verb: str, failed: OSError) -> CniError:
    if verb != "STATUS" and failed.errno in NOT_PERMITTED:
        return CniError(
            FORBIDDEN,
            f"the dpupool daemon's socket {path} is not open to user {posix.geteuid()}: {failed}",
            "run the container runtime as root, whose plug-ins alone may change the network",
        )
    return CniError(
        unavailable(verb),
        f"the dpupool daemon does not answer at {path}: {failed}",
        "start dpu-daemon on this node (systemctl start dpu-daemon), or let DPUPOOL_CNI_SOCKET name its socket",
    )
