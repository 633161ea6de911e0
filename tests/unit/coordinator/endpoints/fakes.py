"""A small API and a small BMC for the endpoints' tests."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from coordinator.clients.model import DiskCounters
from coordinator.endpoints.objects import Object
from proto.errors import DpuError
from proto.reasons import Reason

PROTOCOL = "plain.dpupool.io"


def a_machine(**spec: Any) -> Object:
    return {
        "apiVersion": "dpupool.io/v1alpha1",
        "kind": "BareMetalMachine",
        "metadata": {"name": "bm-01", "namespace": "default", "resourceVersion": "1"},
        "spec": {"image": "tiny", "power": "On", **spec},
        "status": {"hostRef": {"name": "host-1"}},
    }


class FakeObjects:
    """One machine, one host, its Secret; patches need the newest version, as on a real server.

    Args:
        machine: the machine.
        address: spec.bmc.address of the host.
    """

    def __init__(self, machine: Object | None = None, address: str = "ipmi://127.0.0.1") -> None:
        self.stored = machine or a_machine()
        self.bmc: Object = {"address": address, "credentialsSecretRef": {"namespace": "infra", "name": "bmc"}}
        self.secrets: dict[str, dict[str, bytes]] = {"bmc": {"username": b"root", "password": b"calvin\n"}}
        self.attachments: dict[str, Object] = {}
        self.rivals = 0
        self.patches: list[Object] = []

    async def machine(self, namespace: str, name: str) -> Object:
        if (namespace, name) != ("default", "bm-01"):
            raise DpuError(Reason.NOT_FOUND, f"there is no machine {name}")
        return {**self.stored, "metadata": dict(self.stored["metadata"])}

    async def patch_machine(self, namespace: str, name: str, patch: Object) -> Object:
        await self.machine(namespace, name)
        if self.rivals:
            self.rivals -= 1
            self._bump()
        if patch["metadata"]["resourceVersion"] != self.stored["metadata"]["resourceVersion"]:
            raise DpuError(Reason.CONFLICT, "the object has been modified")
        self.patches.append(patch)
        self.stored["spec"].update(patch["spec"])
        self._bump()
        return self.stored

    async def host(self, name: str) -> Object:
        assert name == "host-1"
        return {"metadata": {"name": name}, "spec": {"bmc": self.bmc}}

    async def attachment(self, namespace: str, name: str) -> Object:
        if name not in self.attachments:
            raise DpuError(Reason.NOT_FOUND, f"there is no attachment {namespace}/{name}")
        return self.attachments[name]

    async def dpu(self, name: str) -> Object:
        return {"metadata": {"name": name, "uid": "d", "resourceVersion": "1"}, "spec": {"address": "10.0.0.1:5000"}}

    async def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        assert namespace == "infra"
        if name not in self.secrets:
            raise DpuError(Reason.NOT_FOUND, f"there is no Secret {namespace}/{name}")
        return self.secrets[name]

    def _bump(self) -> None:
        metadata = self.stored["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)


class FakeBmc:
    """A serial console that repeats what is typed in capital letters; one writer at a time."""

    def __init__(self) -> None:
        self.queries: list[dict[str, str]] = []
        self.writer: web.WebSocketResponse | None = None
        self.left = asyncio.Event()
        self.url = ""

    async def console(self, request: web.Request) -> web.StreamResponse:
        expected = "Basic " + base64.b64encode(b"root:calvin").decode()
        if request.headers.get("Authorization") != expected:
            return web.Response(status=401)
        self.queries.append(dict(request.query))
        socket = web.WebSocketResponse(protocols=(PROTOCOL,))
        await socket.prepare(request)
        await socket.send_bytes(b"login: ")
        if request.query.get("mode") == "write":
            if self.writer is not None and request.query.get("takeover") != "1":
                await socket.close(code=4409, message=b"root#1 writes; view, or take over")
                return socket
            self.writer = socket
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                if message.data == b"power off":
                    await socket.close(code=1013, message=b"the BMC stops")
                    break
                await socket.send_bytes(message.data.upper())
        self.left.set()
        return socket


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[TestServer]:
    server = TestServer(app)
    await server.start_server()
    try:
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def a_bmc() -> AsyncIterator[FakeBmc]:
    bmc = FakeBmc()
    app = web.Application()
    app.add_routes([web.get("/console", bmc.console)])
    async with serving(app) as server:
        bmc.url = f"redfish+http://127.0.0.1:{server.port}/redfish/v1/Systems/1"
        yield bmc


class FakeDpus:
    """DPUs that counted one read of 4 KiB."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.error: DpuError | None = None

    def dpu(self, name: str, address: str, server_name: str) -> "FakeDpus":
        del server_name
        self.asked.append((name, address))
        return self

    async def stats(self, attachment_id: str) -> DiskCounters:
        assert attachment_id
        if self.error is not None:
            raise self.error
        return DiskCounters(read_ops=1, read_bytes=4096)
