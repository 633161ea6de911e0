"""One call to the node daemon: a request frame, an answer frame, one connection.

Request: MAGIC, then three big-endian 32-bit numbers: milliseconds that the daemon has, bytes of the environment, bytes
of the configuration; then the environment (``NAME=value`` and a NUL each, as in /proc/PID/environ); then standard
input, verbatim. Answer: MAGIC, exit status and bytes of output as two such numbers; then the output, verbatim.

Lengths in front instead of HTTP: values of CNI_* are bytes of any kind and need no escaping, a broken-off answer shows,
both ends are a few lines, and nothing has to be parsed in a process that lives for 8 ms. The request does not end the
connection, so that to the daemon its end means one thing: the runtime gave up, undo.
"""

MAGIC = b"dpucni1\n"
HEAD_BYTES = 16
CONFIG_MAX_BYTES = 4 << 20
"""A GC call lists every attachment of a node: 100 bytes each, so room for tens of thousands."""
OUTPUT_MAX_BYTES = 4 << 20
TRACE_NAMES = (b"TRACEPARENT", b"TRACESTATE", b"BAGGAGE")
"""W3C trace context, which newer runtimes hand on."""


def request(left_ms: int, environment: dict[bytes, bytes], config: bytes) -> bytes:
    """The frame of a call; of the environment only what is the daemon's business.

    Args:
        left_ms: milliseconds after which nobody listens to the answer.
        environment: of this process.
        config: standard input.
    """
    pairs = b"".join(
        name + b"=" + value + b"\0"
        for name, value in environment.items()
        if name.startswith(b"CNI_") or name in TRACE_NAMES
    )
    return MAGIC + _number(left_ms) + _number(len(pairs)) + _number(len(config)) + pairs + config


def answer_head(head: bytes) -> tuple[int, int]:
    """Exit status and bytes of output that an answer announces.

    Args:
        head: its first HEAD_BYTES bytes, or fewer when there were no more.

    Raises:
        ValueError: it is no such answer; says why.
    """
    if len(head) < HEAD_BYTES or not head.startswith(MAGIC):
        raise ValueError(f"it begins with {head!r}")
    status, length = int.from_bytes(head[8:12], "big"), int.from_bytes(head[12:16], "big")
    if status > 255:
        raise ValueError(f"{status} is no exit status")
    if length > OUTPUT_MAX_BYTES:
        raise ValueError(f"it announces {length} bytes, and {OUTPUT_MAX_BYTES} are allowed")
    return status, length


def check_output(status: int, output: bytes, *, must_have_result: bool) -> None:
    """Refuse what a runtime would choke on, without parsing it.

    Args:
        status: exit status of the answer.
        output: for standard output.
        must_have_result: success of this call means a result.

    Raises:
        ValueError: an error or a result is no JSON object.
    """
    text = output.strip()
    if (status or must_have_result or text) and not (text.startswith(b"{") and text.endswith(b"}")):
        raise ValueError(f"status {status} comes with {output[:60]!r}, which is no JSON object")


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")
