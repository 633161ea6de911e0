"""A small API and a small BMC for the endpoints' tests."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from coordinator.clients.model import DiskCounters
from coordinator.clients.offload import FlowsAsked, FlowWhere, PortWhere, SwitchWhere, Verdict
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

    async def network_node(self, name: str) -> Object:
        spec = {"address": "10.0.0.2:5000", "serverName": "worker-1-switch"}
        return {"metadata": {"name": name, "uid": "n", "resourceVersion": "1"}, "spec": spec}

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


def a_flow(verdict: Verdict, packets: int, **more: Any) -> FlowWhere:
    fields = {
        "ufid": f"u-{packets}", "in_port": "pf0vf0", "match": "in_port(pf0vf0),eth_type(0x0800)", "actions": "p0",
        "bytes": packets * 100, "layer": "tc", "reason": "driver-refused", "why": "mlx5 did not take it",
    }  # fmt: skip
    return FlowWhere(**{**fields, **more}, packets=packets, verdict=verdict)


def a_switch(**more: Any) -> SwitchWhere:
    port = PortWhere(
        netdev="pf0vf0", port_id="default.web-0", kind="", driver="mlx5e_rep", asked=True, capable=True,
        flow_api="linux_tc", verdict=Verdict.PARTIAL, flows=3, flows_in_hardware=2, packets=1000,
        packets_in_hardware=990, bytes=100_000, bytes_in_hardware=99_000, rules=3, rules_in_hardware=2,
        why="1 of 3 flows, 1 % of packets, are not: mlx5e_rep of pf0vf0 did not take it",
    )  # fmt: skip
    fields: dict[str, Any] = {
        "enabled": True, "restart_needed": False, "datapath": "system", "path": "tc",
        "abilities": ["hw-tc-offload=1/1"], "flows": 3, "flows_in_hardware": 2, "flows_partial": 0, "packets": 1000,
        "packets_in_hardware": 990, "bytes": 100_000, "bytes_in_hardware": 99_000, "ports": [port],
        "sentence": "offload is on (tc): 2 of 3 flows and 99 % of packets are in hardware",
    }  # fmt: skip
    return SwitchWhere(**{**fields, **more})


class FakeSwitch:
    """A daemon with a switch that has three flows."""

    def __init__(self, owner: "FakeDpus") -> None:
        self._owner = owner

    async def offload(self) -> SwitchWhere:
        if self._owner.error is not None:
            raise self._owner.error
        return self._owner.switch

    async def flows(self, asked: FlowsAsked) -> list[FlowWhere]:
        self._owner.flows_asked.append(asked)
        flows = [a_flow(Verdict.HARDWARE, 985), a_flow(Verdict.SOFTWARE, 10), a_flow(Verdict.HARDWARE, 5)]
        wanted = [flow for flow in flows if not asked.software_only or flow.verdict is Verdict.SOFTWARE]
        return wanted[: asked.limit]


class FakeDpus:
    """DPUs that counted one read of 4 KiB."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.error: DpuError | None = None
        self.switch = a_switch()
        self.flows_asked: list[FlowsAsked] = []

    def offload(self, name: str, address: str, server_name: str) -> FakeSwitch:
        self.asked.append((f"{name} as {server_name}", address))
        return FakeSwitch(self)

    def dpu(self, name: str, address: str, server_name: str) -> "FakeDpus":
        del server_name
        self.asked.append((name, address))
        return self

    async def stats(self, attachment_id: str) -> DiskCounters:
        assert attachment_id
        if self.error is not None:
            raise self.error
        return DiskCounters(read_ops=1, read_bytes=4096)
