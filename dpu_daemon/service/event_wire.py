"""Events between wire and model."""

from dpu_daemon.model.event import Event
from proto.dpu.v1 import host_pb2


def from_event(event: Event) -> host_pb2.Event:
    """An event for the wire."""
    return host_pb2.Event(
        sequence=event.sequence,
        unix_ms=event.unix_ms,
        kind=event.kind.value,
        id=event.subject,
        reason=event.reason,
        message=event.message,
        warning=event.warning,
    )
