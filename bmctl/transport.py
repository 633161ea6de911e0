"""Requests to one API server: JSON out, JSON or DpuError back."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec

from bmctl.kubeconfig import Connection
from bmctl.objects import Object
from bmctl.status_reply import refusal
from bmctl.tls import client_context
from proto.errors import DpuError
from proto.reasons import Reason

CONNECT_S = 10.0
JSON = "application/json"
Query = Mapping[str, str]


class Transport:
    """A connection to one server, kept open between requests.

    Args:
        connection: where and as whom.
        timeout_s: deadline of one request; streams have their own.
    """

    def __init__(self, connection: Connection, timeout_s: float) -> None:
        self.server = connection.server
        secure = connection.server.startswith("https://")
        self._extensions = {"sni_hostname": connection.server_name} if connection.server_name else {}
        self._http = httpx.Client(
            base_url=connection.server,
            headers={**credentials(connection), "User-Agent": "bmctl"},
            verify=client_context(connection) if secure else True,
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_S),
            trust_env=False,
        )

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        query: Query | None = None,
        accept: str = JSON,
        content_type: str = JSON,
    ) -> Object:
        """One request and its answer.

        Raises:
            DpuError: the server refused, or did not answer.
        """
        headers = {"Accept": accept} | ({} if body is None else {"Content-Type": content_type})
        content = None if body is None else msgspec.json.encode(body)
        with translated(self.server):
            reply = self._http.request(
                method, path, content=content, params=query, headers=headers, extensions=dict(self._extensions)
            )
        decoded = _decoded(reply)
        if reply.is_error or not isinstance(decoded, dict):
            raise refusal(decoded, reply.status_code)
        return decoded

    @contextmanager
    def lines(self, path: str, query: Query, *, silence_s: float, accept: str) -> Iterator[Iterator[str]]:
        """Lines of an answer that goes on, such as a watch.

        Args:
            path: path on the server.
            query: query parameters.
            silence_s: longest wait for the next line; then DEADLINE.
            accept: media types.
        """
        timeout = httpx.Timeout(silence_s, connect=CONNECT_S)
        headers = {"Accept": accept}
        with (
            translated(self.server),
            self._http.stream("GET", path, params=query, headers=headers, timeout=timeout) as reply,
        ):
            if reply.is_error:
                reply.read()
                raise refusal(_decoded(reply), reply.status_code)
            yield (line for line in reply.iter_lines() if line)


def credentials(connection: Connection) -> dict[str, str]:
    """Headers that say who the client is; empty when its certificate does."""
    return {"Authorization": f"Bearer {connection.token}"} if connection.token else {}


@contextmanager
def translated(server: str) -> Iterator[None]:
    """Turn failures of the transport into DpuError, each with what to look at.

    Args:
        server: URL, for the message.
    """
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise unreachable(server, str(error)) from error
    except httpx.TimeoutException as error:
        raise DpuError(
            Reason.DEADLINE, f"{server} did not answer in time", remedy="try again; look at the coordinator's log"
        ) from error
    except (httpx.TransportError, ssl.SSLError) as error:
        raise DpuError(Reason.UNAVAILABLE, f"the connection to {server} broke: {error}", remedy="try again") from error


def unreachable(server: str, text: str) -> DpuError:
    """The error of a server that cannot be connected to.

    Args:
        server: its URL.
        text: what the system said.
    """
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return DpuError(
            Reason.UNAVAILABLE,
            f"the certificate of {server} is not trusted: {text}",
            field="clusters[].cluster.certificate-authority-data",
            remedy="get a fresh kubeconfig of that server",
        )
    return DpuError(
        Reason.UNAVAILABLE,
        f"{server} cannot be reached: {text or 'connecting took too long'}",
        field="clusters[].cluster.server",
        remedy="check that the coordinator runs (`bmctl lab status`) and that the context is the right one",
    )


def _decoded(reply: httpx.Response) -> Any:
    try:
        return msgspec.json.decode(reply.content)
    except msgspec.DecodeError:
        return reply.text.strip()[:200]
