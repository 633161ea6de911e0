"""The embedded API server inside this process, and the way to it for ourselves."""

import secrets
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog
from aiohttp import web

from coordinator.api import crds
from coordinator.api.crds import CrdError
from coordinator.api.database import StoreUnusableError
from coordinator.api.routes import RouteGroup
from coordinator.api.rules import Authorizer
from coordinator.api.server import ApiServer, Auth, tls_context
from coordinator.api.store import Store
from coordinator.api.users import AUTHENTICATED, Authenticator, TokenFileError, UserInfo, read_tokens
from coordinator.api.writes import Writes
from coordinator.clients.kube import Door
from coordinator.config import Api, split_listen
from proto.errors import DpuError
from proto.reasons import Reason
from proto.supervision import inherited

log = structlog.get_logger(__name__)

OURSELVES = UserInfo("dpu-coordinator", ("dpupool:coordinator", AUTHENTICATED))

OpenSite = Callable[[web.AppRunner], web.BaseSite]


class Embedded:
    """The server, listening where the configuration says, and on a Unix socket for this process.

    The socket lies in a folder that only this user can enter, and still asks for a token that lives as long as we do.
    """

    def __init__(self, settings: Api, state: str, extra: Iterable[RouteGroup]) -> None:
        token = secrets.token_urlsafe(32)
        self._settings = settings
        self._folder = tempfile.TemporaryDirectory(prefix="dpupool-")
        path = str(Path(self._folder.name) / "api.sock")
        self.door = Door(socket=path, token=token)
        try:
            users = dict(self._tokens()) | {token: OURSELVES}
            self._tls = tls_context(Path(settings.tls_cert), Path(settings.tls_key), _path(settings.client_ca))
            customs = crds.load([manifests(settings.crds)])
            store = Store.open(Path(state), max_bytes=settings.max_bytes)
        except (TokenFileError, CrdError, StoreUnusableError, OSError, ssl.SSLError) as error:
            self._folder.cleanup()
            raise DpuError(Reason.INVALID, f"the API cannot be served: {error}", remedy="correct [api]") from error
        self._server = ApiServer(store, customs, Auth(Authenticator(users), Authorizer()), extra)

    @property
    def writes(self) -> Writes:
        """The server's own way to write, for this process."""
        return self._server.writes

    async def start(self) -> None:
        """Listen.

        Raises:
            DpuError: an address cannot be listened on.
        """
        sites: list[OpenSite] = [lambda runner: web.UnixSite(runner, self.door.socket)]
        sites += [self._site(text) for text in self._settings.listen]
        try:
            await self._server.start(sites)
        except OSError as error:
            raise DpuError(
                Reason.UNAVAILABLE,
                f"cannot listen: {error}",
                field="api.listen",
                remedy="choose addresses of this machine that are free",
            ) from error

    async def close(self) -> None:
        """End streams, finish writes, close the store."""
        await self._server.close()
        self._folder.cleanup()

    def _tokens(self) -> dict[str, UserInfo]:
        path = _path(self._settings.tokens)
        if path is None or not path.exists():
            return {}
        return read_tokens(path)

    def _site(self, text: str) -> OpenSite:
        host, port = split_listen(text)
        if port >= 0:
            return lambda runner: web.TCPSite(runner, host, port, ssl_context=self._tls)
        number = inherited(host)
        if number is None:
            raise DpuError(
                Reason.INVALID,
                f"no socket {host!r} was passed to this process",
                field="api.listen",
                remedy="start it by socket activation (LISTEN_FDS), or write ADDRESS:PORT",
            )
        given = socket.socket(fileno=number)
        return lambda runner: web.SockSite(runner, given, ssl_context=self._tls)


def manifests(configured: str) -> Path:
    """The folder of the CRD manifests: the configured one, the checkout's, or the package's."""
    here = Path(__file__).resolve().parent
    places = [Path(configured)] if configured else [here.parent / "packaging" / "kubernetes" / "crds", here / "crds"]
    for place in places:
        if place.is_dir():
            return place
    raise DpuError(
        Reason.NOT_FOUND,
        f"no CRD manifests in {places[-1]}",
        field="api.crds",
        remedy="write the folder that has them",
    )


def _path(text: str) -> Path | None:
    return Path(text) if text else None
