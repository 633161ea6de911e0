"""Instant queries of a Prometheus server."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx2 as httpx
import msgspec

from proto.errors import DpuError
from proto.reasons import Reason

TIMEOUT_S = 5.0
MOST_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One element of a vector; `at` in seconds since 1970."""

    labels: Mapping[str, str]
    at: float
    value: float


class _Element(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str]


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815  (the wire's name)
    result: list[_Element]


class _Reply(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""


class Prometheus:
    """A client; call `close` at its end.

    Args:
        url: of the server, such as ``http://prometheus:9090``.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, transport=transport)

    async def close(self) -> None:
        """End its connections."""
        await self._client.aclose()

    async def query(self, query: str) -> list[Point]:
        """The vector that a query gives now; values that are no numbers are left out.

        Raises:
            DpuError: UNAVAILABLE, the server does not answer; INVALID, it does not take the query, or its answer is
                no vector.
        """
        try:
            async with self._client.stream("POST", f"{self._url}/api/v1/query", data={"query": query}) as reply:
                body = bytearray()
                async for part in reply.aiter_bytes():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise _refused("the answer is larger than 32 MiB", "aggregate by namespace, pod and container")
                code = reply.status_code
        except httpx.HTTPError as error:
            raise DpuError(
                Reason.UNAVAILABLE,
                f"Prometheus does not answer: {error or type(error).__name__}",
                field="resize.prometheus",
                remedy="see that it runs and is reachable",
                retry=True,
            ) from error
        return _points(code, bytes(body))


def _points(code: int, body: bytes) -> list[Point]:
    try:
        reply = msgspec.json.decode(body, type=_Reply)
    except msgspec.DecodeError as error:
        raise _refused(
            f"Prometheus answered {code} with what is not its JSON", "correct [resize] prometheus"
        ) from error
    if reply.status != "success" or reply.data is None:
        raise _refused(f"Prometheus says: {reply.error or code}", "correct the query")
    if reply.data.resultType != "vector":
        raise _refused(f"the query gives a {reply.data.resultType}", "write one that gives an instant vector")
    points = [Point(labels=one.metric, at=one.value[0], value=_number(one.value[1])) for one in reply.data.result]
    return [point for point in points if 0 <= point.value < float("inf")]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


def _refused(message: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, message, field="spec.source.prometheus", remedy=remedy)
