from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from dpu_daemon.drivers.cri.names import POD_UID, CriNames
from proto.cri.runtime.v1 import api_pb2, api_pb2_grpc


class Runtime(api_pb2_grpc.RuntimeServiceServicer):
    """A runtime that lists what a test put there."""

    def __init__(self) -> None:
        self.containers: list[api_pb2.Container] = []
        self.broken = False

    async def ListContainers(  # noqa: N802
        self, request: api_pb2.ListContainersRequest, context: Any
    ) -> api_pb2.ListContainersResponse:
        if self.broken:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        return api_pb2.ListContainersResponse(containers=self.containers)


def container(
    container_id: str, name: str, attempt: int = 0, state: api_pb2.ContainerState = api_pb2.CONTAINER_RUNNING
) -> api_pb2.Container:
    metadata = api_pb2.ContainerMetadata(name=name, attempt=attempt)
    return api_pb2.Container(id=container_id, metadata=metadata, labels={POD_UID: "pod-1"}, state=state)


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    server, servicer = grpc.aio.server(), Runtime()
    api_pb2_grpc.add_RuntimeServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{tmp_path}/c.sock")
    await server.start()
    yield servicer
    await server.stop(0)


async def test_the_newest_attempt_that_lives_has_the_name(runtime: Runtime, tmp_path: Path) -> None:
    runtime.containers = [
        container("old", "main", 1, api_pb2.CONTAINER_EXITED),
        container("newer", "main", 3),
        container("new", "main", 2),
        container("dead", "gone", 1, api_pb2.CONTAINER_EXITED),
        container("made", "side", 0, api_pb2.CONTAINER_CREATED),
    ]
    names = CriNames(tmp_path / "c.sock")
    assert await names.names() == {("pod-1", "main"): "newer", ("pod-1", "side"): "made"}
    assert names.known
    await names.close()


async def test_what_was_learnt_stays_true_while_the_runtime_is_away(runtime: Runtime, tmp_path: Path) -> None:
    runtime.containers = [container("c1", "main")]
    names = CriNames(tmp_path / "c.sock")
    assert await names.names() == {("pod-1", "main"): "c1"}
    runtime.broken = True
    assert await names.names() == {("pod-1", "main"): "c1"}
    assert "does not answer: UNAVAILABLE: restarting" in names.trouble()
    runtime.broken, runtime.containers = False, []
    assert await names.names() == {}
    assert names.trouble() == ""
    await names.close()
