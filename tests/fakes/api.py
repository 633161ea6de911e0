"""The embedded API server on a loopback port, in a thread of its own, for any test that needs an API.

    with running_api(tmp_path) as api:
        api.url, api.token, api.kubeconfig, api.client()

It is the real server on a real file, not a fake; only the certificates and tokens are made up.
"""

import asyncio
import datetime as dt
import ipaddress
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from coordinator.api import crds
from coordinator.api.crds import Custom
from coordinator.api.history import Bounds
from coordinator.api.routes import RouteGroup
from coordinator.api.rules import Authorizer, Binding
from coordinator.api.server import ApiServer, Auth, tls_context
from coordinator.api.store import Store
from coordinator.api.users import Authenticator, parse_tokens

PROJECT_CRDS = Path(__file__).resolve().parents[2] / "packaging" / "kubernetes" / "crds"
ADMIN_TOKEN = "admin-token"
COORDINATOR_TOKEN = "coordinator-token"
VIEWER_TOKEN = "viewer-token"
NOBODY_TOKEN = "nobody-token"
TOKENS = (
    f'{ADMIN_TOKEN},admin,1,"system:masters"',
    f'{COORDINATOR_TOKEN},coordinator,2,"dpupool:coordinator"',
    f'{VIEWER_TOKEN},viewer,3,"dpupool:viewer"',
    f"{NOBODY_TOKEN},nobody,4",
)


@dataclass(frozen=True)
class Pki:
    """A small CA, the server's certificate, and client certificates on demand."""

    directory: Path
    ca: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, directory: Path, name: str = "test-ca") -> "Pki":
        """A new CA; writes ``<name>.crt``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        ca = (
            _builder(subject, subject, key)
            .add_extension(x509.BasicConstraints(True, None), True)
            .sign(key, hashes.SHA256())
        )
        pki = cls(directory, ca, key)
        pki.ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        return pki

    @property
    def ca_file(self) -> Path:
        """The CA's certificate."""
        return self.directory / f"{self.ca.subject.rfc4514_string().removeprefix('CN=')}.crt"

    def issue(self, name: str, groups: Iterable[str] = ()) -> tuple[Path, Path]:
        """Certificate and key files of a name with groups, good for a loopback server and for clients."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            _builder(subject, self.ca.subject, key)
            .add_extension(x509.SubjectAlternativeName(names), False)
            .sign(self.key, hashes.SHA256())
        )
        paths = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        paths[1].write_bytes(key.private_bytes(*form))
        return paths


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(minutes=5))
    return builder.not_valid_after(now + dt.timedelta(days=2))


@dataclass
class RunningApi:
    """A server that answers.

    Attributes:
        url: base URL.
        token: bearer token of a member of system:masters; the other TOKENS work too.
        kubeconfig: file for kubectl and client libraries, as that user.
        pki: the CA when TLS is on; issues client certificates.
    """

    url: str
    token: str
    kubeconfig: Path
    database: Path
    server: ApiServer
    pki: Pki | None
    _loop: asyncio.AbstractEventLoop = field(repr=False)

    def client(self, token: str = ADMIN_TOKEN) -> httpx.Client:
        """A blocking HTTP client of a user."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        verify: Any = True
        if self.pki:
            verify = _client_context(self.pki)
        return httpx.Client(base_url=self.url, headers=headers, verify=verify, timeout=20.0, trust_env=False)

    def run(self, make: Callable[[], Any]) -> Any:
        """What a coroutine, made and run in the server's thread, returns."""

        async def call() -> Any:
            return await make()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(20)

    def write_kubeconfig(self, path: Path, user: dict[str, str]) -> Path:
        """A kubeconfig with the credentials given."""
        cluster: dict[str, str] = {"server": self.url}
        if self.pki:
            cluster["certificate-authority"] = str(self.pki.ca_file)
        context = {"cluster": "test", "user": "test", "namespace": "default"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": context}],
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        path.chmod(0o600)
        return path


def _client_context(pki: Pki) -> Any:
    import ssl

    return ssl.create_default_context(cafile=str(pki.ca_file))


@contextmanager
def running_api(
    directory: Path,
    *,
    tls: bool = True,
    manifests: Iterable[Path] = (PROJECT_CRDS,),
    customs: Iterable[Custom] = (),
    extra: Iterable[RouteGroup] = (),
    tokens: Iterable[str] = (),
    bindings: Iterable[Binding] = (),
    bounds: Bounds | None = None,
    max_bytes: int = 0,
) -> Iterator[RunningApi]:
    """A server on a free loopback port until the block ends.

    Args:
        directory: for the database, the kubeconfig and the certificates; a database that is there is used.
        tls: serve TLS and take client certificates; without it kubectl sends no token and is refused.
        manifests: CRD files or directories.
        customs: custom kinds beside those.
        extra: route groups to add.
        tokens: lines of a static token file beside TOKENS.
        bindings: rules beside the default ones.
        bounds: of the history.
        max_bytes: limit of the database.
    """
    database = directory / "api.sqlite"
    auth = Auth(Authenticator(parse_tokens([*TOKENS, *tokens], "tokens")), Authorizer(bindings))
    pki = Pki.create(directory) if tls else None
    context = tls_context(*pki.issue("apiserver"), pki.ca_file) if pki else None
    store = Store.open(database, bounds=bounds, max_bytes=max_bytes)
    server = ApiServer(store, [*crds.load(manifests), *customs], auth, extra)
    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="api-server", daemon=True)
    thread.start()

    def finish() -> None:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
        listener.close()

    def site(runner: web.AppRunner) -> web.BaseSite:
        return web.SockSite(runner, listener, ssl_context=context)

    try:
        asyncio.run_coroutine_threadsafe(server.start([site]), loop).result(20)
        url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
        api = RunningApi(url, ADMIN_TOKEN, directory / "kubeconfig", database, server, pki, loop)
        api.write_kubeconfig(api.kubeconfig, {"token": ADMIN_TOKEN})
        yield api
    finally:
        finish()
