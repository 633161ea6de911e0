"""The controllers' side of OVN without an API server: objects are put into caches, the real writer does the rest."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, cast

from coordinator.clients.protocols import Change
from coordinator.controllers.ground import OvnGround
from coordinator.controllers.net.context import NetApi, NetContext
from coordinator.controllers.net.mirrors import NetMirrors
from coordinator.controllers.net.wiring import Ovn, OvnPlace
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind

PATIENCE_S = 30.0


class OvnPlant:
    """Objects by hand.

    Attributes:
        heard: ids of ports that something was told of.
    """

    def __init__(self, northbound: str) -> None:
        api = cast("NetApi", None)  # nothing here reads or writes the API
        self.ground = OvnGround()
        self.heard: list[str] = []
        self.context = NetContext(api=api, mirrors=NetMirrors(api), events=cast("Any", None), clock=_now, outside=None)
        self.context.ovn.heard.append(self.heard.append)
        self.told()
        self.ovn = Ovn(self.context, OvnPlace(remotes=northbound), self.ground)
        self._version = 0

    @property
    def writer(self) -> Any:
        return self.ovn.writer

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        serving = asyncio.create_task(self.ovn.run())
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.wait([serving])
            if not serving.cancelled() and serving.exception() is not None:
                raise cast("BaseException", serving.exception())

    def told(self, *, served: bool = True) -> None:
        """Mirrors are what an API server listed; or it has none of their kinds."""
        for mirror in self.context.mirrors._mirrors.values():
            mirror.served = served
            mirror.synced.set()

    def put(self, kind: Kind | Foreign, name: str, spec: Any, *, namespace: str = "", **rest: Any) -> None:
        """An object, new or changed; `metadata` in `rest` is added to its own."""
        self._version += 1
        known = {"name": name, "namespace": namespace, "uid": f"uid-{kind.value}-{namespace}-{name}"}
        metadata = known | {"resourceVersion": str(self._version)} | rest.pop("metadata", {})
        body = {"metadata": metadata, "spec": spec, **rest}
        if isinstance(kind, Kind):
            self.context.caches.by_kind[kind].absorb(body)
        else:
            self.context.mirrors.absorb(kind, body)

    def drop(self, kind: Kind | Foreign, name: str, namespace: str = "") -> None:
        key = f"{namespace}/{name}" if namespace else name
        if isinstance(kind, Foreign):
            mirror = self.context.mirrors._mirrors[kind]
            mirror._take(Change.DELETED, mirror._objects[key])
            return
        cache = self.context.caches.by_kind[kind]
        cache.drop(cache.raw(key))

    def port(self, name: str, subnet: str, mac: str, *addresses: str, node: str = "", **spec: Any) -> None:
        """A pod's port in namespace ``ns``, of the network that its subnet is of; and the pod unless it is there."""
        if self.context.mirrors.get(Foreign.POD, f"ns/{name}") is None:
            self.put(Foreign.POD, name, {"nodeName": node}, namespace="ns", metadata={"uid": f"pod-{name}"})
        found = self.context.caches.subnets.get(subnet)
        assert found is not None
        body = {
            "podRef": {"name": name, "uid": f"pod-{name}"},
            "node": node,
            "networkRef": {"name": found.spec.network_ref.name},
            "subnetRef": {"name": subnet},
            "mac": mac,
            "addresses": [{"cidr": address} for address in addresses],
            **spec,
        }
        self.put(Kind.PORT, name, body, namespace="ns")

    def machine(self, name: str, uid: str, nics: list[dict[str, Any]]) -> None:
        self.put(Kind.MACHINE, name, {"image": "x", "nics": nics}, namespace="ns", metadata={"uid": uid})


async def until(there: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Waits without holding up the loop; `there` runs in a thread, as it may call programs."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while not await asyncio.to_thread(there):
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come in {patience_s:g} s"
        await asyncio.sleep(0.05)


def _now() -> datetime:
    return datetime.now(UTC)
