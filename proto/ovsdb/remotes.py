"""Where a database is: ``unix:PATH``, ``tcp:ADDRESS:PORT``, ``ssl:ADDRESS:PORT``, several of them for a cluster."""

import asyncio
import ssl
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from proto.errors import DpuError
from proto.reasons import Reason

REMEDY = "write unix:PATH, tcp:ADDRESS:PORT or ssl:ADDRESS:PORT; commas between the servers of a cluster"
STREAM_LIMIT_BYTES = 1024 * 1024

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Method(Enum):
    """How a server is reached."""

    UNIX = "unix"
    TCP = "tcp"
    SSL = "ssl"


@dataclass(frozen=True, slots=True)
class Remote:
    """One server; `port` is 0 for a Unix socket, whose path is the address."""

    method: Method
    address: str
    port: int = 0

    def __str__(self) -> str:
        if self.method is Method.UNIX:
            return f"unix:{self.address}"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.method.value}:{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of this client, and of the authority that signed the servers' certificates.

    OVSDB's own clients do not compare a certificate with the address that they called: any that the authority signed
    is believed, and so it is here.
    """

    ca: Path
    cert: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Made anew for each connection, as files are replaced while we run.

        Raises:
            OSError: a file cannot be read, or is none (ssl.SSLError is one).
        """
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca)
        context.check_hostname = False
        context.load_cert_chain(self.cert, self.key)
        return context


def parse_remotes(text: str, field: str) -> tuple[Remote, ...]:
    """The servers that a setting names.

    Raises:
        DpuError: INVALID, at `field`.
    """
    return tuple(_parse(part.strip(), field) for part in text.split(","))


async def open_streams(remote: Remote, tls: TlsFiles | None) -> Streams:
    """A connection.

    Raises:
        OSError: it cannot be had.
        DpuError: INVALID; ``ssl:`` without files.
    """
    if remote.method is Method.UNIX:
        return await asyncio.open_unix_connection(remote.address, limit=STREAM_LIMIT_BYTES)
    context = None
    if remote.method is Method.SSL:
        if tls is None:
            remedy = "write ca, cert and key beside the address"
            raise DpuError(Reason.INVALID, f"{remote} needs a certificate of this client", remedy=remedy)
        context = tls.context()
    return await asyncio.open_connection(remote.address, remote.port, ssl=context, limit=STREAM_LIMIT_BYTES)


def _parse(text: str, field: str) -> Remote:
    word, _, rest = text.partition(":")
    known = {method.value: method for method in Method}
    method = known.get(word)
    if method is Method.UNIX and rest:
        return Remote(method, rest)
    host, _, port = rest.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if method is None or method is Method.UNIX or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise DpuError(Reason.INVALID, f"{text!r} is no address of a database", field=field, remedy=REMEDY)
    return Remote(method, host, int(port))
