"""A fleet in memory, the real servers before it, and a client that calls as upstream's does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from coordinator.clients.protocols import Api
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.pool.stock import machine_name
from coordinator.endpoints.autoscaler.server import AutoscalerServers, ServerTls
from proto.clusterautoscaler.expander import expander_pb2_grpc
from proto.clusterautoscaler.externalgrpc import externalgrpc_pb2 as pb
from proto.clusterautoscaler.externalgrpc import externalgrpc_pb2_grpc
from tests.fakes.api import Pki
from tests.fakes.objects import MemoryApi

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROLE = "dpupool:autoscaler"


def pool_spec(**spec: Any) -> Json:
    template = {"image": "node", "namespace": "nodes", "labels": {"disk": "remote"}} | spec.pop("template", {})
    return {"kind": "container", "autoscaler": "External", "maximum": 5, "replicas": 0, "template": template} | spec


def node(machine: str, *, name: str = "") -> pb.ExternalGrpcNode:
    return pb.ExternalGrpcNode(providerID=f"dpupool://nodes/{machine}", name=name or machine)


def invented(instance: str) -> pb.ExternalGrpcNode:
    """What upstream sends for an instance that has no node."""
    return pb.ExternalGrpcNode(providerID=instance, name=instance)


@dataclass
class Fleet:
    """Objects as other parts of the coordinator would leave them."""

    api: Any = field(default_factory=MemoryApi)

    async def pool(self, name: str, **spec: Any) -> None:
        await self.api.create(Kind.POOL, {"metadata": {"name": name}, "spec": pool_spec(**spec)})

    async def host(self, name: str, *, cpus: int = 64, memory_mib: int = 262144, **spec: Any) -> None:
        hardware = {"model": "R1", "cpus": cpus, "memoryMiB": memory_mib}
        bmc: Json = {"address": f"redfish+https://{name}/redfish/v1/Systems/1"}
        bmc |= {"credentialsSecretRef": {"namespace": "default", "name": "bmc"}}
        body = {"metadata": {"name": name}, "spec": {"dpuRef": {"name": "d"}, "bmc": bmc, "hardware": hardware} | spec}
        await self.api.create(Kind.HOST, body)
        await self.api.patch_status(Kind.HOST, name, {"status": {"phase": "Available"}})

    async def machine(self, pool: str, host: str, state: str, *, joined: bool = True, message: str = "") -> str:
        """A machine of a pool on a host, as the pool's loop makes it and reports it."""
        name = machine_name(pool, host)
        labels = {"dpupool.io/pool": pool}
        body = {"metadata": {"name": name, "namespace": "nodes", "labels": labels}, "spec": {"image": "node"}}
        made = await self.api.create(Kind.MACHINE, body)
        claim = {"namespace": "nodes", "name": name, "uid": made["metadata"]["uid"]}
        await self.api.patch(Kind.HOST, host, {"spec": {"lease": {"pool": pool, "generation": 1}, "claimRef": claim}})
        entry = {"machine": name, "server": host, "state": state, "node": name if joined else "", "message": message}
        listed = (await self.api.get(Kind.POOL, pool)).get("status", {}).get("nodes", [])
        await self.api.patch_status(Kind.POOL, pool, {"status": {"nodes": [*listed, entry]}})
        return name

    async def spec(self, pool: str) -> Json:
        found: Json = (await self.api.get(Kind.POOL, pool))["spec"]
        return found


@dataclass
class Rig:
    """Servers, and a client with the autoscaler's certificate."""

    fleet: Fleet
    pki: Pki
    servers: AutoscalerServers
    provider_port: int
    expander_port: int
    cloud: Any
    expander: Any

    async def answer(self, method: str, request: Any, *, cloud: Any = None) -> tuple[grpc.StatusCode, str]:
        """Code and words of a call that is refused."""
        try:
            await getattr(cloud or self.cloud, method)(request)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        return grpc.StatusCode.OK, ""

    async def instances(self, group: str) -> dict[str, pb.InstanceStatus]:
        found = await self.cloud.NodeGroupNodes(pb.NodeGroupNodesRequest(id=group))
        return {one.id: one.status for one in found.instances}

    async def increase(self, group: str, delta: int) -> tuple[grpc.StatusCode, str]:
        return await self.answer("NodeGroupIncreaseSize", pb.NodeGroupIncreaseSizeRequest(id=group, delta=delta))

    async def decrease(self, group: str, delta: int) -> tuple[grpc.StatusCode, str]:
        request = pb.NodeGroupDecreaseTargetSizeRequest(id=group, delta=delta)
        return await self.answer("NodeGroupDecreaseTargetSize", request)

    async def delete(self, group: str, *nodes: pb.ExternalGrpcNode) -> tuple[grpc.StatusCode, str]:
        return await self.answer("NodeGroupDeleteNodes", pb.NodeGroupDeleteNodesRequest(id=group, nodes=nodes))

    async def target(self, group: str) -> int:
        found = await self.cloud.NodeGroupTargetSize(pb.NodeGroupTargetSizeRequest(id=group))
        return int(found.targetSize)

    async def refresh(self) -> None:
        await self.cloud.Refresh(pb.RefreshRequest())

    @asynccontextmanager
    async def client(self, name: str, *roles: str) -> AsyncIterator[Any]:
        """Another client, with another certificate, or with none when it has no role."""
        async with _channel(self.provider_port, self.pki, name, roles) as channel:
            yield externalgrpc_pb2_grpc.CloudProviderStub(channel)


@asynccontextmanager
async def _channel(port: int, pki: Pki, name: str, roles: tuple[str, ...]) -> AsyncIterator[grpc.aio.Channel]:
    credentials = grpc.ssl_channel_credentials(pki.ca_file.read_bytes())
    if roles:
        cert, key = pki.issue(name, roles)
        credentials = grpc.ssl_channel_credentials(pki.ca_file.read_bytes(), key.read_bytes(), cert.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        yield channel


@asynccontextmanager
async def autoscaler_rig(directory: Path, api: Api | None = None) -> AsyncIterator[Rig]:
    """Servers on free loopback ports until the block ends."""
    fleet = Fleet(api or MemoryApi())
    pki = Pki.create(directory, "autoscaler-ca")
    cert, key = pki.issue("coordinator")
    servers = AutoscalerServers(fleet.api, lambda: NOW)
    tls = ServerTls(cert=cert, key=key, client_ca=pki.ca_file)
    try:
        port = await servers.serve_provider("127.0.0.1:0", tls)
        expander_port = await servers.serve_expander("127.0.0.1:0", tls)
        async with _channel(port, pki, "ca-1", (ROLE,)) as channel, _channel(expander_port, pki, "", ()) as other:
            cloud = externalgrpc_pb2_grpc.CloudProviderStub(channel)
            expander = expander_pb2_grpc.ExpanderStub(other)
            yield Rig(fleet, pki, servers, port, expander_port, cloud, expander)
    finally:
        await servers.close()
