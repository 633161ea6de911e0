"""Secrets of storage clients on a storage node: kept while an export is guarded with them."""

import asyncio

from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.protocols import CredentialStore
from dpu_daemon.model.credentials import Credentials
from proto.errors import DpuError
from proto.reasons import Reason


class Secrets:
    """All sets of secrets of this storage node.

    Args:
        ledger: whose exports name them.
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
            DpuError: IN_USE naming the volume whose export is guarded with it.
        """
        for volume in self._ledger.volumes.values():
            if volume.export is not None and volume.export.credentials == name:
                message = f"the export of volume {volume.volume_id} is guarded with credentials {name}"
                raise DpuError(Reason.IN_USE, message, field="name", remedy="unexport it first")
        await asyncio.to_thread(self._writable().delete, name)

    def _writable(self) -> CredentialStore:
        if self._store is None:
            message = "this daemon keeps no credentials"
            raise DpuError(Reason.UNSUPPORTED, message, field="credentials", remedy="set credentials_dir")
        return self._store
