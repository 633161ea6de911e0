"""A Redfish service on loopback, as small as sushy accepts, with the faults of real ones on request."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

SYSTEM = "/redfish/v1/Systems/one"


@dataclass
class FakeRedfish:
    """The service.

    Attributes:
        boot_targets: what it offers to boot from; empty for no choice at all.
        failures: how many of the next requests are answered with 503.
        requests: method and path of each, in order.
    """

    password: str = "secret"
    on: bool = False
    boot_targets: list[str] = field(default_factory=lambda: ["None", "Pxe", "Hdd"])
    boot: dict[str, str] = field(default_factory=dict)
    resets: list[str] = field(default_factory=list)
    failures: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def address(self) -> str:
        """As spec.bmc.address has it."""
        return f"redfish+{self.url}{SYSTEM}"

    async def handle(self, request: web.Request) -> web.StreamResponse:  # noqa: PLR0911  (a table of paths)
        """Answer a request."""
        self.requests.append((request.method, request.path))
        if self.failures:
            self.failures -= 1
            return web.json_response(_error("busy"), status=503)
        path = request.path.rstrip("/")
        if path == "/redfish/v1":
            return web.json_response(self._root())
        if not self._knows(request):
            return web.json_response(_error("unauthorized"), status=401)
        if path == SYSTEM and request.method == "PATCH":
            self.boot = (await request.json())["Boot"]
            return web.Response(status=204)
        if path == SYSTEM:
            return web.json_response(self._system())
        if path == f"{SYSTEM}/Actions/ComputerSystem.Reset":
            kind = (await request.json())["ResetType"]
            self.resets.append(kind)
            self.on = kind == "On" if kind in {"On", "ForceOff", "GracefulShutdown"} else self.on
            return web.Response(status=204)
        return web.json_response(_error("no such resource"), status=404)

    def _knows(self, request: web.Request) -> bool:
        wanted = base64.b64encode(f"admin:{self.password}".encode()).decode()
        return request.headers.get("Authorization") == f"Basic {wanted}"

    def _root(self) -> dict[str, Any]:
        return {
            "@odata.id": "/redfish/v1/",
            "Id": "RootService",
            "Name": "Root",
            "RedfishVersion": "1.15.0",
            "Systems": {"@odata.id": "/redfish/v1/Systems"},
        }

    def _system(self) -> dict[str, Any]:
        boot: dict[str, Any] = {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}
        if self.boot_targets:
            boot["BootSourceOverrideTarget@Redfish.AllowableValues"] = self.boot_targets
        return {
            "@odata.id": SYSTEM,
            "Id": "one",
            "Name": "one",
            "UUID": "9c0b6f0e-5d0c-4f9e-9b39-0d6a3e0a7c11",
            "Manufacturer": "ACME",
            "PowerState": "On" if self.on else "Off",
            "Boot": boot,
            "Actions": {
                "#ComputerSystem.Reset": {
                    "target": f"{SYSTEM}/Actions/ComputerSystem.Reset",
                    "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "GracefulShutdown"],
                }
            },
        }


def _error(message: str) -> dict[str, Any]:
    return {"error": {"code": "Base.1.0.GeneralError", "message": message}}


@asynccontextmanager
async def serving() -> AsyncIterator[FakeRedfish]:
    """A service that answers until the block ends."""
    fake = FakeRedfish()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()
