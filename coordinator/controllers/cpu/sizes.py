"""Gives running shared instances the weight and quota that they bought; takes the quota from those with own CPUs."""

from collections.abc import Mapping
from fractions import Fraction
from hashlib import blake2s

from coordinator.clients.host_cpus import ContainerSize, PodSize
from coordinator.controllers.cpu.context import CpuContext
from coordinator.core.cpu.admission import InstanceKind
from coordinator.core.cpu.ledger import Ledger
from coordinator.core.cpu.shares import share_of, split
from coordinator.core.objects.cpu import Placement
from coordinator.core.objects.meta import Json
from coordinator.core.pool.quantity import amount_of
from coordinator.core.resize.pods import running_ids


class Sizes:
    """Sends sizes to the host's daemon, each once for the containers that run; the daemon knows a repeat by its id."""

    def __init__(self, context: CpuContext, ledger: Ledger) -> None:
        self._context = context
        self._ledger = ledger
        self._sent: dict[str, str] = {}

    async def apply(self, found: Placement, pod: Json) -> None:
        """Have a shared instance's running pod sized as its share says, unless its own spec says just that.

        An instance with CPUs of its own is as large as these, and has no quota on them.

        Raises:
            DpuError: the host does not answer or cannot.
        """
        key = found.metadata.key
        node = self._context.caches.node_at(found.node)
        running = (pod.get("status") or {}).get("phase") == "Running"
        held = self._ledger.node_of(key)
        instance, pinned = held.holdings[key].instance, held.holdings[key].alone
        if node is None or not running or not (pinned or instance.kind is InstanceKind.SHARED):
            return
        share = share_of(instance, Fraction(1) if pinned else held.limits.oversell)
        containers = (pod.get("spec") or {}).get("containers", [])
        parts = split(share, [_limit(container) for container in containers])
        ids = running_ids(pod)
        sizes = tuple(
            ContainerSize(
                container=container["name"],
                container_id=ids.get(container["name"], ""),
                cpu_request_milli=part.cpu_request_milli,
                cpu_limit_milli=part.cpu_limit_milli,
                memory_request_bytes=part.memory_bytes,
                memory_limit_bytes=part.memory_bytes or -1,
            )
            for container, part in zip(containers, parts, strict=True)
        )
        uid = pod["metadata"]["uid"]
        ratio = str(held.limits.oversell).replace("/", "-")
        request_id = f"{found.metadata.uid}.{uid}.{share.cpu_limit_milli}.{ratio}.{share.memory_bytes}.{_mark(ids)}"
        if self._sent.get(key) == request_id or (not pinned and all(map(_has, containers, sizes))):
            return
        client = self._context.hosts.host_cpus(node.metadata.name, node.spec.address, node.server_name)
        await client.resize(request_id, [PodSize(pod_uid=uid, containers=sizes, pinned=pinned)])
        self._sent[key] = request_id

    def forget(self, key: str) -> None:
        """A placement is gone."""
        self._sent.pop(key, None)


def _mark(ids: Mapping[str, str]) -> str:
    """Differs when a container was started anew: its group knows nothing of the size yet."""
    return blake2s("\n".join(f"{name} {ids[name]}" for name in sorted(ids)).encode(), digest_size=4).hexdigest()


def _limit(container: Json) -> int:
    return _amount(container, "limits", "cpu") or _amount(container, "requests", "cpu")


def _has(container: Json, size: ContainerSize) -> bool:
    return (
        _amount(container, "requests", "cpu") == size.cpu_request_milli
        and _amount(container, "limits", "cpu") == size.cpu_limit_milli
        and _amount(container, "limits", "memory") == max(0, size.memory_limit_bytes)
    )


def _amount(container: Json, table: str, resource: str) -> int:
    text = ((container.get("resources") or {}).get(table) or {}).get(resource)
    if text is None:
        return 0
    return amount_of(resource, text, f"spec.containers.resources.{table}.{resource}")
