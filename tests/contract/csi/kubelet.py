"""kubelet's side of plug-in registration: a watcher of the folder, written from the protocol."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from proto.csi.v1 import csi_pb2_grpc, identity_pb2, node_pb2
from proto.pluginregistration.v1 import api_pb2, api_pb2_grpc

LIMIT_S = 60.0


@dataclass
class FakeKubelet:
    """Scans the folder when told to, asks each socket, looks at the CSI endpoint, and gives its verdict.

    Attributes:
        directory: plugins_registry.
        refusal: the error to refuse with; empty to accept.
        known: plug-ins by name, as they stand registered.
        nodes: ids that nodes told.
    """

    directory: Path
    refusal: str = ""
    known: dict[str, api_pb2.PluginInfo] = field(default_factory=dict)
    nodes: list[str] = field(default_factory=list)

    async def scan(self) -> None:
        """What a start of kubelet does: every socket that lies there."""
        for path in sorted(self.directory.glob("*.sock")):
            await self.register(path)

    async def register(self, path: Path) -> None:
        async with dialled(path) as channel:
            stub = api_pb2_grpc.RegistrationStub(channel)
            info = await stub.GetInfo(api_pb2.InfoRequest(), timeout=LIMIT_S, wait_for_ready=True)
            async with dialled(Path(info.endpoint)) as csi:
                plugin = await csi_pb2_grpc.IdentityStub(csi).GetPluginInfo(
                    identity_pb2.GetPluginInfoRequest(), timeout=LIMIT_S
                )
                await self._ask_for_the_node(csi)
            assert plugin.name == info.name
            status = api_pb2.RegistrationStatus(plugin_registered=not self.refusal, error=self.refusal)
            await stub.NotifyRegistrationStatus(status, timeout=LIMIT_S)
        if not self.refusal:
            self.known[info.name] = info

    async def _ask_for_the_node(self, csi: grpc.aio.Channel) -> None:
        """What becomes the CSINode object; without the service the plug-in is refused."""
        try:
            request = node_pb2.NodeGetInfoRequest()
            self.nodes.append((await csi_pb2_grpc.NodeStub(csi).NodeGetInfo(request, timeout=LIMIT_S)).node_id)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise


@contextlib.asynccontextmanager
async def dialled(path: Path) -> AsyncIterator[grpc.aio.Channel]:
    channel = grpc.aio.insecure_channel(f"unix:{path}")
    try:
        yield channel
    finally:
        await channel.close()


async def appears(path: Path) -> None:
    """Wait for a socket."""
    async with asyncio.timeout(LIMIT_S):
        while not path.is_socket():  # noqa: ASYNC110, ASYNC240  (another process makes it)
            await asyncio.sleep(0.02)
