"""The dpu-cni program: standard input and CNI_* to the node daemon, its answer to standard output.

Start-up is nearly all it costs, so the way of a forwarded call imports nothing but modules that are built into the
interpreter: `_signal`, `_socket`, `posix`. cni_plugin.frame says what goes over the socket. The daemon parses,
validates and acts; here is decided only what to say when there is no daemon to ask.
"""

import posix
from posix import _exit

from cni_plugin.codes import BAD_ENVIRONMENT, INTERNAL, INVALID, IO_FAILURE, CniError
from cni_plugin.daemon import READ_BYTES, ask, unavailable
from cni_plugin.deadline import LateError, end_process_after, start_alarm, stop_alarm
from cni_plugin.frame import CONFIG_MAX_BYTES
from cni_plugin.local import ABOUT, error, version

DEFAULT_SOCKET = "/run/dpupool/cni.sock"
DEADLINE_S = {"ADD": 90.0, "DEL": 60.0, "CHECK": 20.0, "GC": 90.0, "STATUS": 4.0, "VERSION": 2.0}
"""Below the runtime's: kubelet gives a call 120 s, shared by a chain of plug-ins, and asks for the status every 5 s."""

PRINT_S = 2.0
"""A runtime reads at once; one that does not has gone."""


def main() -> int:
    """Serve the call that the environment describes; its exit status."""
    if b"CNI_COMMAND" not in posix.environ:
        return _say(2, ABOUT, 0)
    verb = _variable(b"CNI_COMMAND")
    config: list[bytes] = []
    try:
        status, output = _serve(verb, config)
    except CniError as failed:
        status, output = 1, error(failed, b"".join(config))
    except Exception as broken:  # noqa: BLE001  (the outermost place: a runtime reads errors from standard output only)
        bug = CniError(INTERNAL, f"dpu-cni failed at {verb}: {broken!r}", "report this; it is a bug of dpu-cni")
        status, output = 1, error(bug, b"".join(config))
    end_process_after(PRINT_S)
    return _say(1, output, status)


def _serve(verb: str, config: list[bytes]) -> tuple[int, bytes]:
    """Exit status and output; `config` is filled as standard input arrives, because an error echoes its version.

    Raises:
        CniError: there is no answer to print but this one.
    """
    seconds = _deadline_s(verb)
    if verb == "VERSION":
        return 0, _version(seconds)
    path = _variable(b"DPUPOOL_CNI_SOCKET") or DEFAULT_SOCKET
    waited_for = "the network configuration on standard input"
    try:
        start_alarm(seconds)
        try:
            _read_config(config)
            waited_for = f"the dpupool daemon at {path}"
            return ask(path, verb, b"".join(config))
        finally:
            stop_alarm()
    except LateError:
        stop_alarm()
        raise CniError(
            unavailable(verb),
            f"{verb} waited {seconds:g} s for {waited_for}",
            "see what dpu-daemon is busy with on this node (journalctl -u dpu-daemon); the call may be repeated",
        ) from None


def _version(seconds: float) -> bytes:
    """The answer to VERSION, which needs no daemon and, in practice, not even standard input."""
    config: list[bytes] = []
    try:
        start_alarm(seconds)
        try:
            _read_config(config)
        finally:
            stop_alarm()
    except (LateError, CniError):
        stop_alarm()
    return version(b"".join(config))


def _deadline_s(verb: str) -> float:
    """Seconds for a call; a test or an operator may lower them."""
    if verb not in DEADLINE_S:
        raise CniError(
            BAD_ENVIRONMENT, f"CNI_COMMAND: {verb!r} is no verb of CNI", f"use one of {', '.join(DEADLINE_S)}"
        )
    lower = _variable(b"DPUPOOL_CNI_DEADLINE_S")
    try:
        seconds = float(lower) if lower else DEADLINE_S[verb]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise CniError(
            BAD_ENVIRONMENT,
            f"DPUPOOL_CNI_DEADLINE_S: {lower!r} is no number of seconds",
            "write one above 0, or unset it",
        )
    return min(seconds, DEADLINE_S[verb])


def _read_config(config: list[bytes]) -> None:
    length = 0
    try:
        while chunk := posix.read(0, READ_BYTES):
            config.append(chunk)
            length += len(chunk)
            if length > CONFIG_MAX_BYTES:
                break
    except OSError as failed:
        raise CniError(
            IO_FAILURE, f"standard input cannot be read: {failed}", "give the network configuration on it"
        ) from None
    if length > CONFIG_MAX_BYTES:
        raise CniError(
            INVALID,
            f"the network configuration on standard input exceeds {CONFIG_MAX_BYTES} bytes",
            "shorten the configuration of this network",
        )


def _variable(name: bytes) -> str:
    """A variable as text; bytes that are no UTF-8 survive the way back to a path, as os.environ's do."""
    return posix.environ.get(name, b"").decode("utf-8", "surrogateescape")


def _say(descriptor: int, output: bytes, status: int) -> int:
    """Print, and the exit status: failure when nobody reads the answer."""
    try:
        while output:
            output = output[posix.write(descriptor, output) :]
    except OSError:
        return 1
    return status


if __name__ == "__main__":
    _exit(main())
