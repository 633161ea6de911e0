"""The daemons of all nodes: one pusher each, made and ended as NetworkNodes come, change and go."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

import msgspec

from coordinator.controllers.net.assignments import NodePusher, PushTiming, Standing
from coordinator.controllers.net.context import NetContext
from coordinator.core.ipam.plan import sayable
from coordinator.core.net.assignment import Assignment, RefusedPod, assignment_of
from coordinator.core.objects.net import NetworkNode, Port
from coordinator.core.objects.network import Network, Subnet

Heard = Callable[[str], None]
"""Called with the key of a Port, or the name of a NetworkNode, that stands differently."""


class _Wishes:
    """`Wishes` of one NetworkNode."""

    def __init__(self, pushers: "Pushers", name: str) -> None:
        self._pushers = pushers
        self._name = name

    def wanted(self, port_id: str) -> Assignment | None:
        return self._pushers.wanted(self._name, port_id)

    def is_unsure(self, port_id: str) -> bool:
        return self._pushers.is_unsure(self._name, port_id)

    def all_wanted(self) -> Iterable[str]:
        return self._pushers.all_of(self._name)

    def refused(self) -> Mapping[str, Sequence[RefusedPod]]:
        return self._pushers.refused(self._name)

    def is_ours(self, node: str) -> bool:
        return self._pushers.judges(self._name, node)


class Pushers:
    """`run` serves until it is cancelled.

    Args:
        port_heard, node_heard: told what stands differently.
    """

    def __init__(self, context: NetContext, port_heard: Heard, node_heard: Heard, timing: PushTiming) -> None:
        self._context = context
        self._caches = context.caches
        self._port_heard = port_heard
        self._node_heard = node_heard
        self._timing = timing
        self._pushers: dict[str, NodePusher] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._places: dict[str, tuple[str, str, str]] = {}
        self._withdrawn: dict[str, str] = {}
        self._last: dict[str, Assignment] = {}
        self._refused: dict[str, dict[str, RefusedPod]] = {}
        self._changed = asyncio.Event()
        self._caches.nodes.listen(self._on_node)
        self._caches.ports.listen(self._on_port)
        self._caches.subnets.listen(self._on_subnet)
        self._caches.networks.listen(self._on_network)

    async def run(self) -> None:
        """Serve until cancelled; every cache must be filled."""
        try:
            while True:
                self._changed.clear()
                await self._arrange()
                await self._changed.wait()
        finally:
            await self._end(list(self._tasks))

    def pusher_of(self, node: str) -> NodePusher | None:
        """The pusher of a Kubernetes node."""
        found = self._caches.node_of(node)
        return self._pushers.get(found.metadata.name) if found is not None else None

    def pusher(self, name: str) -> NodePusher | None:
        """The pusher of a NetworkNode."""
        return self._pushers.get(name)

    def standing(self, port: Port) -> Standing | None:
        """How a port stands with its daemon; None when its node has none."""
        pusher = self.pusher_of(port.spec.node)
        return pusher.standing(port.port_id) if pusher is not None else None

    def withdraw(self, port: Port) -> None:
        """A port is to go: its daemon shall not have it."""
        if not self.is_withdrawn(port):
            self._withdrawn[port.metadata.key] = port.metadata.uid
            self._told(port)

    def is_withdrawn(self, port: Port) -> bool:
        """Whether a port is on its way out: it goes to the end, whoever asks for its name meanwhile."""
        return self._withdrawn.get(port.metadata.key) == port.metadata.uid

    def wanted(self, name: str, port_id: str) -> Assignment | None:
        """What a NetworkNode's daemon shall know of a port."""
        port = self._port_of(name, port_id)
        if port is None:
            return None
        subnet = self._caches.subnets.get(port.spec.subnet_ref.name)
        network = self._caches.networks.get(port.spec.network_ref.name)
        if subnet is not None and network is not None:
            told = msgspec.structs.replace(subnet, spec=sayable(subnet.spec))
            self._last[port_id] = assignment_of(port, told, network)
        return self._last.get(port_id)  # of a subnet that was deleted under its ports, what was said last stays

    def is_unsure(self, name: str, port_id: str) -> bool:
        """Whether a port shall be there, and nobody knows how: its subnet was gone before we started."""
        return self._port_of(name, port_id) is not None and self.wanted(name, port_id) is None

    def _port_of(self, name: str, port_id: str) -> Port | None:
        """A port that a NetworkNode's daemon shall have."""
        port = self._caches.ports.get(_key(port_id))
        if port is None or self.is_withdrawn(port):
            return None
        node = self._caches.node_of(port.spec.node)
        return port if node is not None and node.metadata.name == name else None

    def refuse(self, node: str, pod: str, refused: RefusedPod | None) -> None:
        """A pod of a Kubernetes node gets no port for now; None when it does, or is gone."""
        pods = self._refused.setdefault(node, {})
        if pods.get(pod) == refused:
            return
        if refused is not None:
            pods[pod] = refused
        else:
            del pods[pod]
        pusher = self.pusher_of(node)
        if pusher is not None:
            pusher.explain()

    def refused(self, name: str) -> dict[str, list[RefusedPod]]:
        """Pods that get no port, of the Kubernetes node that a NetworkNode is the first of."""
        node = self._caches.nodes.get(name)
        if node is None or not self.judges(name, node.node):
            return {}
        return {node.node: list(self._refused.get(node.node, {}).values())}

    def all_of(self, name: str) -> list[str]:
        """Ids of the ports of a NetworkNode."""
        node = self._caches.nodes.get(name)
        return [port.port_id for port in self._caches.ports.by("node", node.node)] if node is not None else []

    def judges(self, name: str, node: str) -> bool:
        """Whether a NetworkNode judges what its daemon has for a Kubernetes node: its own, or nobody's."""
        found = self._caches.node_of(node)
        return found is None or found.metadata.name == name

    def _told(self, port: Port) -> None:
        pusher = self.pusher_of(port.spec.node)
        if pusher is not None:
            pusher.changed(port.port_id)

    def _on_port(self, key: str, before: Port | None, after: Port | None) -> None:
        found = after or before
        if found is None:
            return
        if after is None:
            self._withdrawn.pop(key, None)
            self._last.pop(found.port_id, None)
        if before is None or after is None or before.metadata.generation != after.metadata.generation:
            self._told(found)

    def _on_subnet(self, key: str, before: Subnet | None, after: Subnet | None) -> None:
        if before is None or after is None or before.spec != after.spec:
            for port in self._caches.ports.by("subnet", key):
                self._told(port)

    def _on_network(self, key: str, before: Network | None, after: Network | None) -> None:
        if before is None or after is None or before.spec != after.spec:
            for port in self._caches.ports.by("network", key):
                self._told(port)

    def _on_node(self, _key: str, before: NetworkNode | None, after: NetworkNode | None) -> None:
        if before is None or after is None or before.spec != after.spec:
            self._changed.set()

    async def _arrange(self) -> None:
        """One pusher for each NetworkNode, at the address that it has now."""
        wanted = {one.metadata.name: _place(one) for one in self._caches.nodes.all()}
        moved = [name for name, place in self._places.items() if wanted.get(name) != place]
        await self._end(moved)
        for name, place in wanted.items():
            if name not in self._tasks:
                self._start(name, place)
        for name in {*moved, *wanted}:
            self._node_heard(name)
        for port in self._caches.ports.all() if moved else ():
            self._port_heard(port.metadata.key)

    def _start(self, name: str, place: tuple[str, str, str]) -> None:
        _, address, server_name = place
        client = self._context.outside.assignments(name, address, server_name)
        pusher = NodePusher(name, client, _Wishes(self, name), partial(self._heard, name), self._timing)
        self._pushers[name], self._places[name] = pusher, place
        self._tasks[name] = asyncio.get_running_loop().create_task(pusher.run(), name=f"pusher of {name}")

    async def _end(self, names: Iterable[str]) -> None:
        ending = []
        for name in names:
            self._pushers.pop(name, None)
            self._places.pop(name, None)
            task = self._tasks.pop(name)
            task.cancel()
            ending.append(task)
        await asyncio.gather(*ending, return_exceptions=True)

    def _heard(self, name: str, port_ids: Collection[str]) -> None:
        for port_id in port_ids:
            self._port_heard(_key(port_id))
        self._node_heard(name)


def _key(port_id: str) -> str:
    """Key of the Port with an id; namespaces have no dots."""
    namespace, _, name = port_id.partition(".")
    return f"{namespace}/{name}"


def _place(node: NetworkNode) -> tuple[str, str, str]:
    """Where a node's daemon is: another place is another daemon."""
    return node.node, node.spec.address, node.spec.server_name or node.metadata.name
