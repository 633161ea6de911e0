"""Exports: one NVMe-oF subsystem for each volume and generation, open to one host by its NQN and keys.

Its parts are made in an order that lets nobody in early: the namespace, then the host, and the listener last. Deleting
the subsystem ends the connections of its host.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from dpu_daemon.drivers.credentials import KeyPart
from dpu_daemon.drivers.lvol.lists import Lists, Subsystem
from dpu_daemon.drivers.lvol.names import MODEL, NSID, ExportName, export_of, nguid_of, volume_uuid
from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.disk import TargetAddress
from dpu_daemon.model.volume import Export
from proto.errors import DpuError
from proto.reasons import Reason

NVME_TCP = "nvme+tcp"
DELETE_TIMEOUT_S = 15.0
"""Its host's connections are ended first."""

KEYRING = {
    KeyPart.DHCHAP: "dhchap_key",
    KeyPart.DHCHAP_CONTROLLER: "dhchap_ctrlr_key",
    KeyPart.TLS_PSK: "psk",
}

_log = structlog.get_logger(__name__)


class KeyFiles(Protocol):
    """Where secrets lie; SPDK reads their files itself."""

    def get(self, name: str) -> Credentials: ...

    def key_file(self, name: str, part: KeyPart) -> Path | None: ...


@dataclass(frozen=True, slots=True)
class Portal:
    """An address and a port on the storage network."""

    host: str
    port: int


class Exports:
    """The exports of one SPDK process.

    Args:
        rpc: the process.
        keys: secrets.
        portal: for exports without TLS.
        tls_portal: for those with it; None where there are none.
    """

    def __init__(self, rpc: SpdkRpc, keys: KeyFiles, portal: Portal, tls_portal: Portal | None) -> None:
        self._rpc = rpc
        self._keys = keys
        self._portal = portal
        self._tls_portal = tls_portal

    async def offer(self, handle: str, bdev: str, asked: Export, lists: Lists) -> TargetAddress:
        """Let one generation's host in; all other generations of the volume are cut off first.

        Raises:
            DpuError: INVALID without the host's NQN; NOT_FOUND of the credentials; UNSUPPORTED for TLS without its
                address.
        """
        if not asked.host_nqn:
            message = "an export over NVMe is for one host, and its NQN is not given"
            raise DpuError(Reason.INVALID, message, field="host_nqn", remedy="send the NQN that the DPU shows")
        name = ExportName(handle, asked.generation, asked.read_only)
        keys = self._key_files(asked.credentials)
        portal = self._portal_for(keys)
        for other in of_volume(handle, lists):
            if other.nqn != name.nqn:
                await self.withdraw(other)
        has = lists.subsystems.get(name.nqn)
        if has is not None and [host.nqn for host in has.hosts] not in ([], [asked.host_nqn]):
            await self.withdraw(has)
            has = None
        await self._build(name, bdev, asked.host_nqn, keys, portal, has or Subsystem(nqn=""))
        return TargetAddress(
            transport=NVME_TCP,
            host=portal.host,
            port=portal.port,
            export=name.nqn,
            credentials=asked.credentials,
            nsid=NSID,
        )

    async def _build(
        self,
        name: ExportName,
        bdev: str,
        host_nqn: str,
        keys: dict[KeyPart, tuple[str, Path]],
        portal: Portal,
        has: Subsystem,
    ) -> None:
        await self._ensure_transport()
        if not has.nqn:
            subsystem = {"nqn": name.nqn, "serial_number": name.handle, "model_number": MODEL, "max_namespaces": NSID}
            await self._rpc.call("nvmf_create_subsystem", subsystem | {"allow_any_host": False})
        if not has.namespaces:
            namespace = {"nsid": NSID, "bdev_name": bdev, "nguid": nguid_of(name.handle)}
            namespace["uuid"] = volume_uuid(name.handle)
            await self._rpc.call("nvmf_subsystem_add_ns", {"nqn": name.nqn, "namespace": namespace})
        if not has.hosts:
            for key, file in keys.values():
                await self._add_key(key, file)
            named = {KEYRING[part]: key for part, (key, _) in keys.items()}
            await self._rpc.call("nvmf_subsystem_add_host", {"nqn": name.nqn, "host": host_nqn} | named)
        if not has.listen_addresses:
            address = {"trtype": "TCP", "adrfam": _family(portal.host), "traddr": portal.host}
            listener: dict[str, Any] = {
                "nqn": name.nqn,
                "listen_address": address | {"trsvcid": str(portal.port)},
            }
            if KeyPart.TLS_PSK in keys:
                listener["secure_channel"] = True
            await self._rpc.call("nvmf_subsystem_add_listener", listener)

    def _key_files(self, credentials: str) -> dict[KeyPart, tuple[str, Path]]:
        """The keys of a set: their names in SPDK's keyring, and their files."""
        if not credentials:
            return {}
        self._keys.get(credentials)
        files = {part: self._keys.key_file(credentials, part) for part in KEYRING}
        return {part: (f"{credentials}.{part.value}", file) for part, file in files.items() if file is not None}

    def _portal_for(self, keys: dict[KeyPart, tuple[str, Path]]) -> Portal:
        if KeyPart.TLS_PSK not in keys:
            return self._portal
        if self._tls_portal is None:
            message = "these credentials ask for TLS, and this storage node has no address for it"
            raise DpuError(Reason.UNSUPPORTED, message, field="credentials", remedy="set lvol.tls_listen")
        return self._tls_portal

    async def _add_key(self, name: str, file: Path) -> None:
        """Refers to the file anew, so that a key that was replaced is the one that is used."""
        try:
            await self._rpc.call("keyring_file_remove_key", {"name": name})
        except SpdkError as error:
            _log.debug("key was not in the keyring", name=name, code=error.code)
        await self._rpc.call("keyring_file_add_key", {"name": name, "path": str(file)})

    async def _ensure_transport(self) -> None:
        transports = await self._rpc.call("nvmf_get_transports", of=list[dict[str, Any]])
        if any(transport["trtype"] == "TCP" for transport in transports):
            return
        try:
            await self._rpc.call("nvmf_create_transport", {"trtype": "TCP"})
        except SpdkError:
            transports = await self._rpc.call("nvmf_get_transports", of=list[dict[str, Any]])
            if not any(transport["trtype"] == "TCP" for transport in transports):
                raise

    async def withdraw(self, subsystem: Subsystem) -> None:
        """Cut an export's host off; gone already is fine."""
        try:
            await self._rpc.call("nvmf_delete_subsystem", {"nqn": subsystem.nqn}, timeout_s=DELETE_TIMEOUT_S)
        except SpdkError:
            listed = await self._rpc.call("nvmf_get_subsystems", of=list[Subsystem])
            if any(each.nqn == subsystem.nqn for each in listed):
                raise


def of_volume(handle: str, lists: Lists) -> list[Subsystem]:
    """All subsystems that export a volume, half-made ones too."""
    named = ((subsystem, export_of(nqn)) for nqn, subsystem in lists.subsystems.items())
    return [subsystem for subsystem, name in named if name is not None and name.handle == handle]


def _family(host: str) -> str:
    return "IPv6" if ":" in host else "IPv4"
