"""A copy of a kind of Kubernetes', told of in the right way whatever the server does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from coordinator.clients.protocols import Change
from coordinator.controllers.pool import mirror as module
from coordinator.controllers.pool.mirror import Mirror, key_of
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json
from proto.errors import DpuError
from proto.reasons import Reason


class Server:
    """Lists pods, or has none of the kind; its watches end when it is told to."""

    def __init__(self) -> None:
        self.pods: dict[str, int] | None = {}
        self.end = asyncio.Event()

    async def list(self, _kind: Any) -> tuple[list[Json], str]:
        if self.pods is None:
            raise DpuError(Reason.NOT_FOUND, "the server could not find the requested resource")
        return [_pod(name, version) for name, version in self.pods.items()], "9"

    async def watch(self, _kind: Any, _version: str) -> AsyncIterator[tuple[Change, Json]]:
        await self.end.wait()
        self.end.clear()
        if self.end.is_set():
            yield Change.MODIFIED, {}
        raise DpuError(Reason.UNAVAILABLE, "the watch ended")


def _pod(name: str, version: int) -> Json:
    return {"metadata": {"namespace": "ns", "name": name, "uid": f"u-{name}", "resourceVersion": str(version)}}


async def _until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not there():  # noqa: ASYNC110  (a model has no events)
            await asyncio.sleep(0)


async def test_what_went_while_the_server_had_none_of_the_kind_is_told_of_when_it_has_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    monkeypatch.setattr(module, "ABSENT_PAUSE_S", 0.0)
    server, heard = Server(), list[tuple[str, Change]]()
    api: Any = server
    mirror = Mirror(api, Foreign.POD, lambda found, change: heard.append((key_of(found), change)))
    server.pods = {"stays": 1, "goes": 2}
    running = asyncio.create_task(mirror.run())
    await mirror.synced.wait()
    server.pods = None
    server.end.set()
    await _until(lambda: not mirror.served)
    assert mirror.all() == []
    assert all(change is not Change.DELETED for _, change in heard)
    server.pods = {"stays": 1}
    await _until(lambda: mirror.served)
    assert heard.count(("ns/goes", Change.DELETED)) == 1
    assert ("ns/stays", Change.DELETED) not in heard
    assert [key_of(found) for found in mirror.all()] == ["ns/stays"]
    running.cancel()
    await asyncio.wait([running])
