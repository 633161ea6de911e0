"""Everything that is not the API, for real: gRPC to daemons, Redfish and IPMI to BMCs; connections are kept."""

import asyncio
import hashlib
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc.aio

from coordinator.clients.assignments import GrpcAssignments
from coordinator.clients.backends.ceph_pool import connector
from coordinator.clients.backends.csi import CsiBackend
from coordinator.clients.backends.node import NodeBackend
from coordinator.clients.backends.nvmeof import NvmeOfBackend
from coordinator.clients.backends.rbd import RbdBackend
from coordinator.clients.backends.settings import Csi, File, Lvol, NvmeOf, Rbd, Storage
from coordinator.clients.channel import ClientTls, open_channel
from coordinator.clients.dpu import GrpcDpu
from coordinator.clients.host_cpus import GrpcHostCpus
from coordinator.clients.host_sizes import GrpcHostSizes
from coordinator.clients.ipmi import IpmiBmc
from coordinator.clients.model import BmcEndpoint
from coordinator.clients.offload import GrpcOffload
from coordinator.clients.protocols import Backend
from coordinator.clients.redfish import RedfishBmc
from coordinator.clients.usage import GrpcUsage
from proto.errors import DpuError
from proto.reasons import Reason

REDFISH_THREADS = 16


class RealOutside:
    """`coordinator.clients.protocols.Outside`.

    Args:
        tls: who we are to daemons; None only for tests on loopback.
    """

    def __init__(self, tls: ClientTls | None, backends: Mapping[str, Storage]) -> None:
        self._tls = tls
        self._settings = dict(backends)
        self._channels: dict[tuple[str, str], grpc.aio.Channel] = {}
        self._dpus: dict[str, tuple[tuple[str, str], GrpcDpu]] = {}
        self._backends: dict[str, Backend] = {}
        self._bmcs: dict[str, tuple[BmcEndpoint, RedfishBmc | IpmiBmc]] = {}
        self._redfish = ThreadPoolExecutor(REDFISH_THREADS, thread_name_prefix="redfish")
        self._ipmi = ThreadPoolExecutor(1, thread_name_prefix="ipmi")
        self._folder = tempfile.TemporaryDirectory(prefix="dpupool-bmc-ca-")
        self._closing: set[asyncio.Task[None]] = set()

    def dpu(self, name: str, address: str, server_name: str) -> GrpcDpu:
        where = (address, server_name)
        known = self._dpus.get(name)
        if known is None or known[0] != where:
            known = (where, GrpcDpu(name, self._channel(where)))
            self._dpus[name] = known
        return known[1]

    def host_cpus(self, name: str, address: str, server_name: str) -> GrpcHostCpus:
        """The daemon in mode host of a node."""
        return GrpcHostCpus(name, self._channel((address, server_name)))

    def assignments(self, name: str, address: str, server_name: str) -> GrpcAssignments:
        """The daemon that owns a node's switch, for ports of its pods."""
        return GrpcAssignments(name, self._channel((address, server_name)))

    def host_sizes(self, name: str, address: str, server_name: str) -> GrpcHostSizes:
        """The same daemon, for sizes of its pods."""
        return GrpcHostSizes(name, self._channel((address, server_name)))

    def usage(self, name: str, address: str, server_name: str) -> GrpcUsage:
        """What the containers of a node use, as its daemon tells it."""
        return GrpcUsage(name, self._channel((address, server_name)))

    def offload(self, name: str, address: str, server_name: str) -> GrpcOffload:
        """The daemon that owns a switch."""
        return GrpcOffload(name, self._channel((address, server_name)))

    def backend(self, name: str) -> Backend:
        if name not in self._settings:
            known = ", ".join(sorted(self._settings)) or "none"
            raise DpuError(
                Reason.NOT_FOUND,
                f"storage backend {name} is not configured (known: {known})",
                field="spec.backend",
                remedy=f"use a known one, or add [storage.{name}] to the coordinator's configuration",
            )
        if name not in self._backends:
            self._backends[name] = self._make(name, self._settings[name])
        return self._backends[name]

    def backends(self) -> tuple[str, ...]:
        return tuple(sorted(self._settings))

    def bmc(self, endpoint: BmcEndpoint) -> RedfishBmc | IpmiBmc:
        known = self._bmcs.get(endpoint.address)
        if known is not None and known[0] == endpoint:
            return known[1]
        if known is not None:
            self._dismiss(known[1])
        made: RedfishBmc | IpmiBmc
        if endpoint.address.startswith("ipmi://"):
            made = IpmiBmc(endpoint, self._ipmi)
        else:
            made = RedfishBmc(endpoint, self._ca_file(endpoint.ca), self._redfish)
        self._bmcs[endpoint.address] = (endpoint, made)
        return made

    async def close(self) -> None:
        """End all connections."""
        for _, bmc in self._bmcs.values():
            self._dismiss(bmc)
        await asyncio.gather(*self._closing, return_exceptions=True)
        for channel in self._channels.values():
            await channel.close()
        self._redfish.shutdown(wait=False, cancel_futures=True)
        self._ipmi.shutdown(wait=False, cancel_futures=True)
        self._folder.cleanup()

    def _make(self, name: str, settings: Storage) -> Backend:
        match settings:
            case File() | Lvol():
                return NodeBackend(name, settings, self._channel((settings.address, settings.name_shown)))
            case NvmeOf():
                return NvmeOfBackend(name, settings)
            case Rbd():
                return RbdBackend(name, settings, connector(name, settings))
            case Csi():
                return CsiBackend(name, settings, self._socket(settings.endpoint))

    def _socket(self, endpoint: str) -> grpc.aio.Channel:
        """A driver's socket: its file's rights say who may come, so there is no TLS."""
        where = (endpoint, "")
        if where not in self._channels:
            self._channels[where] = open_channel(endpoint, "", None)
        return self._channels[where]

    def _channel(self, where: tuple[str, str]) -> grpc.aio.Channel:
        if where not in self._channels:
            try:
                self._channels[where] = open_channel(where[0], where[1], self._tls)
            except OSError as error:
                raise DpuError(
                    Reason.UNAVAILABLE, f"client certificate cannot be read: {error}", remedy="correct [client]"
                ) from error
        return self._channels[where]

    def _dismiss(self, bmc: RedfishBmc | IpmiBmc) -> None:
        task = asyncio.get_running_loop().create_task(bmc.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _ca_file(self, ca: str) -> Path | None:
        """A file with this authority: sushy takes paths only."""
        if not ca:
            return None
        path = Path(self._folder.name) / f"{hashlib.sha256(ca.encode()).hexdigest()}.pem"
        if not path.exists():
            path.write_text(ca, encoding="ascii")
        return path
