"""kubelet's own records of which pod has which device. Source: kubelet's podresources v1."""

from collections.abc import Mapping
from pathlib import Path

import grpc
import grpc.aio

from proto.errors import DpuError
from proto.podresources.v1 import api_pb2, api_pb2_grpc
from proto.reasons import Reason

_OPTIONS = (
    # Go's servers refuse the escaped path of a Unix socket as the name of a host.
    ("grpc.default_authority", "localhost"),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class KubeletRecords:
    """The devices of one resource.

    Args:
        socket: of kubelet's pod resources.
        resource: name under which kubelet counts them.
        timeout_s: for one list.
    """

    def __init__(self, socket: Path, resource: str, *, timeout_s: float = 2.0) -> None:
        self._target, self._resource, self._timeout_s = f"unix:{socket}", resource, timeout_s
        self._channel: grpc.aio.Channel | None = None

    async def owners(self) -> Mapping[str, str]:
        """``NAMESPACE/NAME`` of pods by device id.

        Raises:
            DpuError: UNAVAILABLE, kubelet does not answer.
        """
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        stub = api_pb2_grpc.PodResourcesListerStub(self._channel)
        try:
            answer = await stub.List(api_pb2.ListPodResourcesRequest(), timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            message = f"kubelet does not tell which pod has what: {error.code().name}: {error.details()}"
            remedy = "see [vfs] pod_resources, and whether kubelet runs"
            raise DpuError(Reason.UNAVAILABLE, message, remedy=remedy) from error
        return {
            device_id: f"{pod.namespace}/{pod.name}"
            for pod in answer.pod_resources
            for container in pod.containers
            for devices in container.devices
            if devices.resource_name == self._resource
            for device_id in devices.device_ids
        }

    async def close(self) -> None:
        """Let go of the connection."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
