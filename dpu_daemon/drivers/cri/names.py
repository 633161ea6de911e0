"""Names of containers, as the container runtime tells them."""

from collections.abc import Mapping
from pathlib import Path

import grpc
import grpc.aio
import structlog

from proto.cri.runtime.v1 import api_pb2, api_pb2_grpc

POD_UID = "io.kubernetes.pod.uid"
"""Label by which kubelet marks a container's pod."""
_OPTIONS = (
    # Go's servers refuse the escaped path of a Unix socket as the name of a host.
    ("grpc.default_authority", "localhost"),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

_log = structlog.get_logger("dpu_daemon.cri")


class CriNames:
    """Container ids by pod uid and container name, asked of the runtime's socket.

    An id never gets another name, so what was learnt stays true while the runtime is away: a restart of it must not
    take the CPUs from a container that keeps running.

    Args:
        socket: of the runtime.
        timeout_s: for one list.
    """

    def __init__(self, socket: Path, *, timeout_s: float = 2.0) -> None:
        self._target = f"unix:{socket}"
        self._timeout_s = timeout_s
        self._channel: grpc.aio.Channel | None = None
        self._names: dict[tuple[str, str], str] = {}
        self._away = ""
        self.known = False
        """Whether it answered once since the start."""

    async def names(self) -> Mapping[tuple[str, str], str]:
        """The newest containers, running or just made; those last heard of while the runtime does not answer."""
        try:
            self._names = await self._list()
        except grpc.aio.AioRpcError as error:
            self._note(f"the container runtime does not answer: {error.code().name}: {error.details()}")
        else:
            self.known = True
            self._note("")
        return self._names

    def trouble(self) -> str:
        """Why it cannot be asked now, in a sentence; empty when it can."""
        return self._away

    async def close(self) -> None:
        """Let go of the connection."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def _list(self) -> dict[tuple[str, str], str]:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        stub = api_pb2_grpc.RuntimeServiceStub(self._channel)
        answer = await stub.ListContainers(api_pb2.ListContainersRequest(), timeout=self._timeout_s)
        found: dict[tuple[str, str], tuple[int, str]] = {}
        for each in answer.containers:
            if each.state not in {api_pb2.CONTAINER_RUNNING, api_pb2.CONTAINER_CREATED}:
                continue
            key = (each.labels.get(POD_UID, ""), each.metadata.name)
            found[key] = max(found.get(key, (-1, "")), (each.metadata.attempt, each.id))
        return {key: container_id for key, (_, container_id) in found.items()}

    def _note(self, trouble: str) -> None:
        if trouble and not self._away:
            _log.warning(trouble)
        elif self._away and not trouble:
            _log.info("the container runtime answers again")
        self._away = trouble
