"""StorageService: disks that this DPU emulates to its host."""

from typing import Any

from dpu_daemon.engine.disk_secrets import DiskSecrets
from dpu_daemon.engine.disks import Disks
from dpu_daemon.service.credentials_wire import to_credentials
from dpu_daemon.service.gate import deadline_of
from dpu_daemon.service.storage_wire import asked_disk, from_disk, from_stats, to_qos
from dpu_daemon.service.validation import check_credentials_name, check_generation, check_id, check_size
from proto.dpu.v1 import storage_pb2, storage_pb2_grpc


class StorageService(storage_pb2_grpc.StorageServiceServicer):
    """Wire to engine and back; errors pass through to the gate.

    Args:
        disks: of the engine.
        secrets: of the engine.
    """

    def __init__(self, disks: Disks, secrets: DiskSecrets) -> None:
        self._disks = disks
        self._secrets = secrets

    async def Attach(self, request: storage_pb2.AttachRequest, context: Any) -> storage_pb2.Attachment:  # noqa: N802
        return from_disk(await self._disks.attach(asked_disk(request), deadline_of(context)))

    async def Detach(self, request: storage_pb2.DetachRequest, context: Any) -> storage_pb2.DetachResponse:  # noqa: N802
        outcome = await self._disks.detach(
            check_id("attachment_id", request.attachment_id),
            check_generation(request.generation),
            deadline_of(context),
            force=request.force,
        )
        return storage_pb2.DetachResponse(outcome=outcome)

    async def GetAttachment(  # noqa: N802
        self, request: storage_pb2.GetAttachmentRequest, _context: Any
    ) -> storage_pb2.Attachment:
        return from_disk(await self._disks.reader.view(check_id("attachment_id", request.attachment_id)))

    async def ListAttachments(  # noqa: N802
        self, _request: storage_pb2.ListAttachmentsRequest, _context: Any
    ) -> storage_pb2.ListAttachmentsResponse:
        views = await self._disks.reader.views()
        return storage_pb2.ListAttachmentsResponse(attachments=[from_disk(view) for view in views])

    async def Resize(self, request: storage_pb2.ResizeRequest, context: Any) -> storage_pb2.Attachment:  # noqa: N802
        attachment_id = check_id("attachment_id", request.attachment_id)
        size = check_size("size_bytes", request.size_bytes)
        return from_disk(await self._disks.resize(attachment_id, size, deadline_of(context)))

    async def SetQos(self, request: storage_pb2.SetQosRequest, context: Any) -> storage_pb2.Attachment:  # noqa: N802
        attachment_id = check_id("attachment_id", request.attachment_id)
        qos = to_qos("qos", request.qos)
        return from_disk(await self._disks.set_qos(attachment_id, qos, deadline_of(context)))

    async def GetStats(self, request: storage_pb2.GetStatsRequest, _context: Any) -> storage_pb2.DiskStats:  # noqa: N802
        return from_stats(await self._disks.reader.stats(check_id("attachment_id", request.attachment_id)))

    async def PutCredentials(  # noqa: N802
        self, request: storage_pb2.PutCredentialsRequest, _context: Any
    ) -> storage_pb2.PutCredentialsResponse:
        await self._secrets.put(to_credentials(request.credentials))
        return storage_pb2.PutCredentialsResponse()

    async def DeleteCredentials(  # noqa: N802
        self, request: storage_pb2.DeleteCredentialsRequest, _context: Any
    ) -> storage_pb2.DeleteCredentialsResponse:
        await self._secrets.delete(check_credentials_name("name", request.name))
        return storage_pb2.DeleteCredentialsResponse()
