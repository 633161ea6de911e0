"""How a thing stands, from what is wanted of it and whether the last look found it so."""

from dpu_daemon.model.disk import Attachment, AttachmentState
from dpu_daemon.model.port import Port, PortState


def attachment_state(want: Attachment, *, settled: bool) -> AttachmentState:
    """State of an attachment; `settled` when the last look found nothing to do."""
    if not want.wanted:
        return AttachmentState.DETACHING
    if settled:
        return AttachmentState.ATTACHED
    return AttachmentState.DEGRADED if want.established else AttachmentState.CONVERGING


def port_state(want: Port, *, settled: bool) -> PortState:
    """State of a port; `settled` when the last look found nothing to do."""
    if not want.wanted:
        return PortState.UNPLUGGING
    if settled:
        return PortState.FORWARDING
    return PortState.DEGRADED if want.established else PortState.CONVERGING
