"""What is asked of an attachment besides its object: what its disk has moved, from the DPU that emulates it."""

from typing import Any, Protocol

import msgspec

from coordinator.clients.model import DiskCounters
from coordinator.core.objects.fleet import Dpu
from coordinator.core.objects.storage import Attachment
from coordinator.endpoints.objects import Objects
from coordinator.endpoints.subresources import GROUP, VERSION, Call
from proto.errors import DpuError
from proto.reasons import Reason


class Counting(Protocol):
    """A DPU that counts."""

    async def stats(self, attachment_id: str) -> DiskCounters: ...


class Dpus(Protocol):
    """Daemons by address."""

    def dpu(self, name: str, address: str, server_name: str) -> Counting: ...


class AttachmentActions:
    """Answers for attachments.

    Args:
        objects: the API.
        dpus: the daemons.
    """

    def __init__(self, objects: Objects, dpus: Dpus) -> None:
        self._objects = objects
        self._dpus = dpus

    async def stats(self, call: Call) -> dict[str, Any]:
        """Counters of a disk since it was connected.

        Raises:
            DpuError: NOT_FOUND; WRONG_STATE while no DPU shows it; UNSUPPORTED where the block layer does not count;
                UNAVAILABLE when the DPU does not answer.
        """
        attachment = Attachment.parse(await self._objects.attachment(call.namespace, call.name))
        if not attachment.status.dpu:
            raise DpuError(
                Reason.WRONG_STATE,
                f"attachment {call.name} is at no DPU yet",
                remedy=f"see `bmctl describe attachment {call.name}`",
            )
        dpu = Dpu.parse(await self._objects.dpu(attachment.status.dpu))
        daemon = self._dpus.dpu(dpu.metadata.name, dpu.spec.address, dpu.server_name)
        counters = await daemon.stats(attachment.metadata.uid)
        return {
            "kind": "DiskStats",
            "apiVersion": f"{GROUP}/{VERSION}",
            "metadata": {"name": call.name, "namespace": call.namespace},
            "volume": attachment.spec.volume_ref.name,
            "host": attachment.spec.host_ref.name,
            "counters": msgspec.to_builtins(counters),
        }
