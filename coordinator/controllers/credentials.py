"""Secrets of storage: made, kept in Secrets of the API, and brought to both ends before an export names them."""

import asyncio
import secrets

import structlog

from coordinator.clients.protocols import Backend
from coordinator.clients.storage import StorageSecrets, Traits
from coordinator.controllers.context import Context
from coordinator.controllers.loop import NEVER, Again
from coordinator.controllers.storage_metrics import CREDENTIALS
from coordinator.core.objects.fleet import Dpu
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import SecretRef
from coordinator.core.objects.storage import Volume
from coordinator.core.storage.credentials import (
    CEPHX_KEY,
    DHCHAP_CONTROLLER_KEY,
    DHCHAP_KEY,
    TEXTS,
    TLS_PSK,
    new_secrets,
    secret_name,
    set_name,
    volume_key,
    volume_set,
    without_tls,
)
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

OF_DPU, OF_BACKEND = "dpu", "backend"
"""Values of a Secret that are no secrets: whose set it is."""

ALL = "all"
"""The only key of the queue."""


class Credentials:
    """Gives each DPU a set of its own for each backend.

    Remembers in which life of a DPU's journal a set was brought to it and to the backend: a new process, a new journal,
    or a daemon that does not know the set any more has it brought again.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._brought: dict[str, str] = {}

    async def admit(self, dpu: Dpu, name: str, backend: Backend) -> str:
        """Have a DPU and a backend know a set; its name, empty where exports are unguarded.

        Raises:
            DpuError: an end does not take it, or a Secret that should be there is not.
        """
        traits = await backend.traits()
        if traits.secret is None and not traits.authenticates:
            return ""
        credentials = set_name(dpu.metadata.name, name)
        if self._brought.get(credentials) == dpu.status.instance_id:
            return credentials
        if traits.secret is not None:
            given = await self._given(traits.secret, name)
            await self._context.dpu(dpu).put_credentials(_set(credentials, given))
        else:
            kept = await self._made(dpu, name, traits)
            made = _set(credentials, kept if traits.tls else without_tls(kept))
            await asyncio.gather(backend.put_credentials(made), self._context.dpu(dpu).put_credentials(made))
        self._brought[credentials] = dpu.status.instance_id
        CREDENTIALS.labels(name).inc()
        return credentials

    def doubt(self, credentials: str) -> bool:
        """Bring a set again at the next look, since somebody says not to know it; whether that may help."""
        return self._brought.pop(credentials, None) is not None

    async def unlock(self, dpu: Dpu, volume: Volume) -> str:
        """Have a DPU know the key of an encrypted volume; the set's name, empty for a volume in clear.

        Raises:
            DpuError: the Secret is missing or has no such key.
        """
        name = volume.spec.secret
        if not name:
            return ""
        try:
            values = await self._context.api.secret(volume.metadata.namespace, name)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
            raise DpuError(
                Reason.NOT_FOUND,
                f"Secret {name} of volume {volume.metadata.name} does not exist",
                field="spec.encryption.secretRef.name",
                remedy="create it in the volume's namespace, with the key in its value `key`",
            ) from error
        credentials = volume_set(volume.metadata.uid)
        known = StorageSecrets(name=credentials, volume_key=volume_key(values, name))
        await self._context.dpu(dpu).put_credentials(known)
        return credentials

    async def lock(self, dpu: Dpu, volume: Volume) -> None:
        """Have a DPU forget the key of a volume that it shows no more."""
        if volume.spec.secret:
            await self._context.dpu(dpu).delete_credentials(volume_set(volume.metadata.uid))

    async def reconcile(self, _key: str) -> Again:
        """Look for sets of DPUs that are no more: nobody keeps what they were known by.

        The Secrets are the record, so that this goes on after a kill, and a Dpu object need not wait for it.
        """
        trouble: DpuError | None = None
        for name, values in sorted((await self._context.api.made_secrets(self._context.secrets_namespace)).items()):
            dpu, backend = values.get(OF_DPU, b"").decode(), values.get(OF_BACKEND, b"").decode()
            if not dpu or not backend or await self._is_there(dpu):
                continue
            try:
                await self._expel(dpu, backend, name)
            except DpuError as error:
                log.warning("credentials stay for now", dpu=dpu, backend=backend, error=str(error))
                trouble = error
        if trouble is not None:
            raise DpuError(trouble.reason, trouble.message, remedy=trouble.remedy, retry=True)
        return NEVER

    async def _is_there(self, dpu: str) -> bool:
        """Whether a DPU is registered, asked of the API before anything of it is taken away."""
        if self._context.caches.dpus.get(dpu) is not None:
            return True
        try:
            await self._context.api.get(Kind.DPU, dpu)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
            return False
        return True

    async def _expel(self, dpu: str, backend: str, name: str) -> None:
        """Take a set away: from the backend first, so that the Secret tells of it until nobody knows it."""
        self._brought.pop(set_name(dpu, backend), None)
        if backend in self._context.outside.backends():
            await self._context.outside.backend(backend).delete_credentials(set_name(dpu, backend))
        await self._context.api.delete_secret(self._context.secrets_namespace, name)
        log.info("credentials removed", dpu=dpu, backend=backend)

    async def _made(self, dpu: Dpu, backend: str, traits: Traits) -> dict[str, bytes]:
        """The set that is ours to make; whoever comes first has made it."""
        namespace, kept = self._context.secrets_namespace, secret_name(set_name(dpu.metadata.name, backend))
        try:
            return await self._context.api.secret(namespace, kept)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
        fresh = new_secrets(traits.transport, secrets.token_bytes)
        fresh |= {OF_DPU: dpu.metadata.name.encode(), OF_BACKEND: backend.encode()}
        try:
            await self._context.api.create_secret(namespace, kept, fresh)
        except DpuError as clash:
            if clash.reason is not Reason.ALREADY_EXISTS:
                raise
            return await self._context.api.secret(namespace, kept)
        return fresh

    async def _given(self, ref: SecretRef, backend: str) -> dict[str, bytes]:
        try:
            return await self._context.api.secret(ref.namespace, ref.name)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
            raise DpuError(
                Reason.NOT_FOUND,
                f"Secret {ref.namespace}/{ref.name} of backend {backend} does not exist",
                field=f"storage.{backend}.secret",
                remedy=f"create it with {', '.join(TEXTS)} as the targets need them, or correct the configuration",
            ) from error


def _set(name: str, values: dict[str, bytes]) -> StorageSecrets:
    words = {key: value.decode("ascii", "replace").strip() for key, value in values.items() if key in TEXTS}
    return StorageSecrets(
        name=name,
        dhchap_key=words.get(DHCHAP_KEY, ""),
        dhchap_controller_key=words.get(DHCHAP_CONTROLLER_KEY, ""),
        tls_psk=words.get(TLS_PSK, ""),
        cephx_key=words.get(CEPHX_KEY, ""),
    )
