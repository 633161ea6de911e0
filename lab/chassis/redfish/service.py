"""The BMC's HTTP application: which path is served by what, and the socket it listens on."""

import ssl
import time

from aiohttp import web

from lab.chassis.bus import Bus
from lab.chassis.config import ChassisConfig
from lab.chassis.console import ConsoleHub
from lab.chassis.host import Host
from lab.chassis.progress import boot_progress
from lab.chassis.record import Record
from lab.chassis.redfish import documents, inventory
from lab.chassis.redfish.access import SESSIONS, Gate
from lab.chassis.redfish.actions import Actions
from lab.chassis.redfish.consoles import Consoles
from lab.chassis.redfish.documents import MANAGER, ROOT, View, collection
from lab.chassis.redfish.replies import document, speak_redfish

BODY_LIMIT_BYTES = 64 * 1024


class Bmc:
    """The application and its server."""

    def __init__(self, config: ChassisConfig, record: Record, host: Host, bus: Bus, hub: ConsoleHub) -> None:
        self._config = config
        self._record = record
        self._host = host
        self._bus = bus
        self._hub = hub
        self._gate = Gate(config.bmc.username, config.bmc_password, config.bmc.session_idle_s)
        self._actions = Actions(config, record, host)
        self._consoles = Consoles(hub)
        self._runner: web.AppRunner | None = None

    async def serve(self) -> str:
        """Listen; returns the service's URL."""
        bmc = self._config.bmc
        self._runner = web.AppRunner(
            self.application(), access_log=None, handler_cancellation=False, shutdown_timeout=2
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, bmc.address, bmc.port, ssl_context=tls_context(self._config))
        await site.start()
        host, port = self._runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in host else host
        return f"{'http' if bmc.plain_http else 'https'}://{shown}:{port}"

    async def close(self) -> None:
        """Stop listening and end what is open."""
        if self._runner is not None:
            await self._runner.cleanup()

    def application(self) -> web.Application:
        """All routes; a trailing slash is as good as none."""
        slash = web.normalize_path_middleware(
            append_slash=False, remove_slash=True, redirect_class=web.HTTPPermanentRedirect
        )
        app = web.Application(
            middlewares=[speak_redfish, slash, self._gate.middleware()], client_max_size=BODY_LIMIT_BYTES
        )
        self._add_service_routes(app)
        self._add_system_routes(app)
        return app

    def _add_service_routes(self, app: web.Application) -> None:
        app.router.add_get("/redfish", self._versions)
        for path in (ROOT, f"{ROOT}/"):
            app.router.add_get(path, self._root)
        app.router.add_get(f"{ROOT}/SessionService", self._session_service)
        app.router.add_get(f"{ROOT}/AccountService", self._account_service)
        app.router.add_get(f"{ROOT}/EventService", self._event_service)
        app.router.add_get(SESSIONS, self._gate.show_sessions)
        app.router.add_post(SESSIONS, self._gate.log_in)
        app.router.add_get(f"{SESSIONS}/{{session}}", self._gate.show_session)
        app.router.add_delete(f"{SESSIONS}/{{session}}", self._gate.log_out)
        manager = f"{ROOT}/Managers/{MANAGER}"
        app.router.add_get(f"{ROOT}/Managers", self._managers)
        app.router.add_get(manager, self._manager)
        app.router.add_get(f"{manager}/VirtualMedia", self._media)
        cd = f"{manager}/VirtualMedia/Cd"
        app.router.add_get(cd, self._cd)
        app.router.add_post(f"{cd}/Actions/VirtualMedia.InsertMedia", self._actions.insert_media)
        app.router.add_post(f"{cd}/Actions/VirtualMedia.EjectMedia", self._actions.eject_media)
        app.router.add_get("/console", self._consoles.serve)

    def _add_system_routes(self, app: web.Application) -> None:
        view = self._view()
        app.router.add_get(f"{ROOT}/Systems", self._systems)
        app.router.add_get(f"{ROOT}/Chassis", self._enclosures)
        app.router.add_get(view.chassis, self._enclosure)
        app.router.add_get(view.system, self._system)
        app.router.add_patch(view.system, self._actions.set_boot)
        app.router.add_post(f"{view.system}/Actions/ComputerSystem.Reset", self._actions.reset)
        app.router.add_get(f"{view.system}/EthernetInterfaces", self._interfaces)
        app.router.add_get(f"{view.system}/EthernetInterfaces/{{id}}", self._interface)
        app.router.add_get(f"{view.system}/Storage", self._storages)
        app.router.add_get(f"{view.system}/Storage/dpu", self._storage)
        app.router.add_get(f"{view.system}/Storage/dpu/Drives/{{id}}", self._drive)

    def _view(self, progress: str = "None") -> View:
        writing = bool(self._hub.writer_name)
        return View(self._config, self._record.state, self._host.state, progress, writing)

    async def _versions(self, _: web.Request) -> web.Response:
        return document({"v1": f"{ROOT}/"})

    async def _root(self, _: web.Request) -> web.Response:
        return document(documents.service_root(self._view()))

    async def _session_service(self, _: web.Request) -> web.Response:
        return document(documents.session_service(self._config.bmc.session_idle_s))

    async def _account_service(self, _: web.Request) -> web.Response:
        return document(documents.account_service())

    async def _event_service(self, _: web.Request) -> web.Response:
        return document(documents.event_service())

    async def _managers(self, _: web.Request) -> web.Response:
        members = [self._view().manager]
        return document(collection(f"{ROOT}/Managers", "ManagerCollection", "Managers", members))

    async def _manager(self, _: web.Request) -> web.Response:
        return document(documents.manager(self._view(), time.time()))

    async def _media(self, _: web.Request) -> web.Response:
        path = f"{self._view().manager}/VirtualMedia"
        return document(collection(path, "VirtualMediaCollection", "Virtual Media", [f"{path}/Cd"]))

    async def _cd(self, _: web.Request) -> web.Response:
        return document(documents.virtual_media(self._view()))

    async def _systems(self, _: web.Request) -> web.Response:
        members = [self._view().system]
        return document(collection(f"{ROOT}/Systems", "ComputerSystemCollection", "Systems", members))

    async def _system(self, _: web.Request) -> web.Response:
        return document(documents.system(self._view(await boot_progress(self._host, self._record.state))))

    async def _enclosures(self, _: web.Request) -> web.Response:
        members = [self._view().chassis]
        return document(collection(f"{ROOT}/Chassis", "ChassisCollection", "Chassis", members))

    async def _enclosure(self, _: web.Request) -> web.Response:
        return document(documents.chassis(self._view()))

    async def _interfaces(self, _: web.Request) -> web.Response:
        return document(inventory.interfaces(self._view(), await self._bus.presences()))

    async def _interface(self, request: web.Request) -> web.Response:
        identity = request.match_info["id"]
        found = inventory.find(inventory.nics(await self._bus.presences()), identity)
        return document(inventory.interface(self._view(), identity, found))

    async def _storages(self, _: web.Request) -> web.Response:
        return document(inventory.storages(self._view()))

    async def _storage(self, _: web.Request) -> web.Response:
        return document(inventory.storage(self._view(), await self._bus.presences()))

    async def _drive(self, request: web.Request) -> web.Response:
        identity = request.match_info["id"]
        found = inventory.find(inventory.disks(await self._bus.presences()), identity)
        return document(inventory.drive(self._view(), identity, found))


def tls_context(config: ChassisConfig) -> ssl.SSLContext | None:
    """The server's side of TLS; None when the settings say plain HTTP."""
    bmc = config.bmc
    if bmc.plain_http:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(bmc.tls_cert_file, bmc.tls_key_file)
    if bmc.client_ca_file:
        context.load_verify_locations(bmc.client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
