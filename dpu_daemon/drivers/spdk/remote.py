"""Remote NVMe controllers: connected with the right name, keys and patience, and shared by disks of one subsystem."""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import structlog

from dpu_daemon.drivers.credentials import KeyPart
from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.listing import ControllerSeen
from dpu_daemon.drivers.spdk.names import controller_name, keyring_name, remote_bdev
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.drivers.spdk.together import together
from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.disk import TargetAddress, TargetPath
from proto.errors import DpuError
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 2.0
"""SYN into a black hole would wait 134 s for the kernel."""

FABRICS_TIMEOUT_S = 3.0
ATTACH_TIMEOUT_S = 13.0
"""A target that accepts and then says nothing is given up after 10 s by SPDK itself."""

RECONNECT_DELAY_S = 1
TRTYPES = {"nvme+tcp": "TCP", "nvme+rdma": "RDMA"}
KEYRING = {
    KeyPart.DHCHAP: "dhchap_key",
    KeyPart.DHCHAP_CONTROLLER: "dhchap_ctrlr_key",
    KeyPart.TLS_PSK: "psk",
}
"""Secrets, and the parameters that take their names."""


class KeyFiles(Protocol):
    """Where secrets lie; SPDK reads their files itself."""

    def get(self, name: str) -> Credentials: ...

    def key_file(self, name: str, part: KeyPart) -> Path | None: ...


class Remotes:
    """The remote controllers of one SPDK process.

    Args:
        rpc: the process.
        host_nqn: who this DPU says it is; SPDK would say something else at every start.
        keys: secrets.
    """

    def __init__(self, rpc: SpdkRpc, *, host_nqn: str, keys: KeyFiles) -> None:
        self._rpc = rpc
        self._host_nqn = host_nqn
        self._keys = keys
        self.by_nqn: dict[str, str] = {}
        """Controllers that are there, by the subsystem that they reach."""
        self._changing: Counter[str] = Counter()
        self._changed: set[str] = set()

    def adopt(self, found: Mapping[str, str]) -> None:
        """What a look at a new process found, by NQN."""
        self.by_nqn = dict(found)

    def watch(self) -> None:
        """A look begins: what changes from now on, it may show or not."""
        self._changed = set(self._changing)

    def correct(self, found: Mapping[str, str]) -> None:
        """What a look found, by NQN, of all that did not change meanwhile: SPDK may have lost one by itself."""
        kept = {nqn: name for nqn, name in self.by_nqn.items() if nqn in self._changed}
        self.by_nqn = kept | {nqn: name for nqn, name in found.items() if nqn not in self._changed}

    @contextmanager
    def _change(self, nqn: str) -> Iterator[None]:
        self._changing[nqn] += 1
        self._changed.add(nqn)
        try:
            yield
        finally:
            self._changed.add(nqn)
            self._changing[nqn] -= 1
            self._changing += Counter()

    def name_for(self, handle: str, target: TargetAddress) -> str:
        """The controller through which this disk reaches its target, there or not."""
        return self.by_nqn.get(target.export) or controller_name(handle, target.export)

    async def bound(self) -> None:
        """Shortens the wait for an address that swallows packets; possible only while nothing is connected."""
        try:
            await self._rpc.call("bdev_nvme_set_options", {"tcp_connect_timeout_ms": int(CONNECT_TIMEOUT_S * 1000)})
        except SpdkError as error:
            # Before 25.05 there is no such option; with controllers, it was set when they were made.
            LOG.info("connect timeout stays as it is", code=error.code)

    async def connect(self, handle: str, target: TargetAddress) -> str:
        """The bdev of the target's namespace, connected now if it was not.

        Raises:
            DpuError: UNAVAILABLE for a target that does not answer, does not know the subsystem or this DPU, or refuses
                its key; WRONG_STATE when the namespace is not there; NOT_FOUND without the credentials.
        """
        name = self.name_for(handle, target)
        if target.export in self.by_nqn:
            return await self._namespace(name, target)
        with self._change(target.export):
            return await self._connected(name, target)

    async def _connected(self, name: str, target: TargetAddress) -> str:
        bdevs = await self._first_path(name, target)
        if not bdevs:
            await self.detach(name, target.export)
            message = f"{target.export} shows no namespace, or one that this DPU already has from elsewhere"
            raise DpuError(Reason.WRONG_STATE, message, field="spec.target", remedy="look at the target", retry=True)
        self.by_nqn[target.export] = name
        chosen = remote_bdev(name, target.nsid) if target.nsid else bdevs[0]
        if chosen not in bdevs or (not target.nsid and len(bdevs) > 1):
            if chosen not in bdevs:
                await self.detach(name, target.export)
            raise _no_namespace(target, len(bdevs))
        return chosen

    async def _namespace(self, name: str, target: TargetAddress) -> str:
        """A namespace of a controller that is there already."""
        if target.nsid:
            return remote_bdev(name, target.nsid)
        listed = await self._rpc.call("bdev_get_bdevs", of=list[dict[str, Any]])
        own = [bdev["name"] for bdev in listed if str(bdev["name"]).startswith(f"{name}n")]
        if len(own) != 1:
            raise _no_namespace(target, len(own))
        return str(own[0])

    async def _first_path(self, name: str, target: TargetAddress) -> list[str]:
        """Tries one path after the other until one connects; the keys go ahead in the same round trip."""
        keys = self._key_params(target)
        failure: DpuError | None = None
        for number, path in enumerate(_paths(target)):
            params = self._params(name, target, path) | {param: key for param, (key, _) in keys.items()}
            ahead = [self._add_key(key, file) for key, file in keys.values()] if number == 0 else []
            try:
                *_, bdevs = await together(*ahead, self._attach(params, path))
            except DpuError as error:
                failure = error
                continue
            return list(bdevs)
        raise failure or _no_namespace(target, 0)

    async def _attach(self, params: Mapping[str, Any], path: TargetPath) -> list[str]:
        try:
            return await self._rpc.call("bdev_nvme_attach_controller", params, of=list[str], timeout_s=ATTACH_TIMEOUT_S)
        except SpdkError as error:
            where = f"{path.host}:{path.port}"
            message = f"cannot connect to {params['subnqn']} at {where} (SPDK: {error.said}, code {error.code})"
            remedy = f"see that the target is up and exports it to {self._host_nqn}, with the same key"
            raise DpuError(Reason.UNAVAILABLE, message, field="spec.target", remedy=remedy) from error

    def _params(self, name: str, target: TargetAddress, path: TargetPath) -> dict[str, Any]:
        version = ipaddress.ip_address(path.host).version
        return {
            "name": name,
            "trtype": TRTYPES[target.transport],
            "adrfam": f"IPv{version}",
            "traddr": path.host,
            "trsvcid": str(path.port),
            "subnqn": target.export,
            "hostnqn": self._host_nqn,
            "multipath": "multipath",
            # Requests wait for a target that went away, for ever: the host must not see an error for a reboot.
            "ctrlr_loss_timeout_sec": -1,
            "reconnect_delay_sec": RECONNECT_DELAY_S,
            "fast_io_fail_timeout_sec": 0,
            "fabrics_connect_timeout_us": int(FABRICS_TIMEOUT_S * 1_000_000),
        }

    async def add_paths(self, name: str, target: TargetAddress) -> None:
        """Adds the ways that are missing; one that does not answer is told in the log and tried at the next put up."""
        listed = await self._rpc.call("bdev_nvme_get_controllers", {"name": name}, of=list[ControllerSeen])
        trids = [path.trid for controller in listed for path in controller.ctrlrs]
        missing = set(_paths(target)) - {TargetPath(host=trid.traddr, port=int(trid.trsvcid or 0)) for trid in trids}
        keys = {param: key for param, (key, _) in self._key_params(target).items()}
        for path in sorted(missing, key=lambda each: (each.host, each.port)):
            try:
                await self._attach(self._params(name, target, path) | keys, path)
            except DpuError as error:
                LOG.warning("a path is missing", controller=name, error=str(error))

    def _key_params(self, target: TargetAddress) -> dict[str, tuple[str, Path]]:
        """Parameter -> (name in the keyring, file)."""
        if not target.credentials:
            return {}
        found = {param: (part, self._keys.key_file(target.credentials, part)) for part, param in KEYRING.items()}
        return {
            param: (keyring_name(target.credentials, part.value), file)
            for param, (part, file) in found.items()
            if file is not None
        }

    async def _add_key(self, name: str, file: Path) -> None:
        """A key that is there already refers to the same file, which is read at each connect."""
        try:
            await self._rpc.call("keyring_file_add_key", {"name": name, "path": str(file)})
        except SpdkError as error:
            LOG.debug("key is in the keyring already, or is refused at the connect", name=name, code=error.code)

    async def detach(self, name: str, nqn: str) -> None:
        """Disconnects a controller from its subsystem; one that is gone is fine.

        Raises:
            SpdkError: it is still there.
        """
        with self._change(nqn):
            try:
                await self._rpc.call("bdev_nvme_detach_controller", {"name": name})
            except SpdkError:
                listed = await self._rpc.call("bdev_nvme_get_controllers", of=list[dict[str, Any]])
                if any(controller["name"] == name for controller in listed):
                    raise
            if self.by_nqn.get(nqn) == name:
                del self.by_nqn[nqn]


def _paths(target: TargetAddress) -> tuple[TargetPath, ...]:
    return (TargetPath(host=target.host, port=target.port), *target.paths)


def _no_namespace(target: TargetAddress, count: int) -> DpuError:
    if target.nsid:
        message = f"{target.export} has no namespace {target.nsid}"
    else:
        message = f"{target.export} has {count} namespaces"
    return DpuError(Reason.WRONG_STATE, message, field="spec.target.nsid", remedy="name one that is there", retry=True)
