"""Secrets of this DPU as a storage client: kept while an attachment names them."""

import asyncio

from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.protocols import CredentialStore
from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.disk import Attachment, TargetAddress
from proto.errors import DpuError
from proto.reasons import Reason


class DiskSecrets:
    """All sets of secrets of this DPU.

    Args:
        ledger: whose attachments name them.
        store: where they lie; None where none can be kept.
    """

    def __init__(self, ledger: Ledger, store: CredentialStore | None) -> None:
        self._ledger = ledger
        self._store = store

    async def put(self, credentials: Credentials) -> None:
        """Keep or replace a set; connections that stand go on with the old one.

        Raises:
            DpuError: INVALID naming the field, never its value; UNSUPPORTED where no secrets can be kept.
        """
        await asyncio.to_thread(self._writable().put, credentials)

    async def delete(self, name: str) -> None:
        """Forget a set; absent is fine.

        Raises:
            DpuError: IN_USE naming the attachment that needs it.
        """
        for record in self._ledger.attachments.values():
            if name in named_by(record):
                message = f"attachment {record.attachment_id} needs credentials {name}"
                raise DpuError(Reason.IN_USE, message, field="name", remedy="detach it first")
        await asyncio.to_thread(self._writable().delete, name)

    def _writable(self) -> CredentialStore:
        if self._store is None:
            message = "this daemon keeps no credentials"
            raise DpuError(Reason.UNSUPPORTED, message, field="credentials", remedy="set credentials_dir")
        return self._store


def named_by(record: Attachment) -> frozenset[str]:
    """Credentials that an attachment cannot do without."""
    source = record.spec.source
    names = {record.spec.encryption, source.credentials if isinstance(source, TargetAddress) else ""}
    return frozenset(names - {""})
