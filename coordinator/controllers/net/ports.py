"""Ports: how far each one is, and their end in a fixed order: off its node, out of OVN, then the ledger line."""

import msgspec

from coordinator.controllers.loop import NEVER, Again
from coordinator.controllers.net.assignments import Standing
from coordinator.controllers.net.context import NetContext
from coordinator.controllers.net.pushers import Pushers
from coordinator.controllers.net.wants import Want, Wants
from coordinator.core.conditions import Aspect, Truth
from coordinator.core.ipam.book import port_holding
from coordinator.core.net.assignment import EPOCH_SHIFT, Hold
from coordinator.core.net.node_port import is_node_port
from coordinator.core.net.pods import FINALIZER
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.net import Port, PortPhase
from coordinator.core.objects.network import NetworkDriver
from coordinator.core.pool.fields import seen_items
from proto.errors import DpuError
from proto.reasons import Reason

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""Taint by which an administrator says that a node is off. Source: Kubernetes, non-graceful node shutdown."""

DELETION_WAITS = "DeletionWaits"

RECHECK_S = 2.0
WAIT_S = 5.0
LET_GO_S = 60.0
"""A NetworkNode that is deleted waits so long for its own port: its host may be off while its DPU runs."""

FIRST_S = 1.0
"""A port that is told to its daemon within this time needs no word that it waits."""


class PortController:
    """Looks at Port objects; the only one that ends them."""

    def __init__(self, context: NetContext, wants: Wants, pushers: Pushers) -> None:
        self._context = context
        self._wants = wants
        self._pushers = pushers
        self._met: set[str] = set()
        self._wanted_still: set[str] = set()

    async def reconcile(self, key: str) -> Again:
        """Look at one port."""
        port = self._context.caches.ports.get(key)
        if port is None:
            return NEVER
        want = Want.NO if self._pushers.is_withdrawn(port) else await self._wants.of_port(port)
        if want is Want.UNKNOWN:
            return Again(after_s=RECHECK_S)
        if want is Want.YES:
            self._tell_wanted(port)
            return await self._report(port)
        if not port.metadata.deleting:
            meta = port.metadata
            await self._context.api.delete(Kind.PORT, meta.name, meta.namespace, uid=meta.uid)
        return await self._release(port)

    def gone(self, uid: str) -> None:
        """A port's object is no more."""
        self._met.discard(uid)
        self._wanted_still.discard(uid)

    def _tell_wanted(self, port: Port) -> None:
        """Say to who deleted a port by hand why it stays."""
        uid = port.metadata.uid
        if not port.metadata.deleting or uid in self._wanted_still:
            return
        self._wanted_still.add(uid)
        holder = f"node {port.spec.node}" if is_node_port(port) else f"pod {port.spec.pod_ref.name}"
        message = f"{holder} is there and has its addresses: the port goes with it"
        self._context.events.tell(Kind.PORT, port.metadata, DELETION_WAITS, message)

    async def _release(self, port: Port) -> Again:
        """Take the next step of the end; what holds it up is told and looked at again."""
        self._pushers.withdraw(port)
        obstacle = await self._obstacle(port)
        if obstacle is not None:
            await self._write(port, port.status.phase, Truth.FALSE, obstacle.reason.value, str(obstacle))
            return Again(after_s=WAIT_S)
        if self._may_be_in_ovn(port) and not self._context.ovn.rows_gone(port.port_id):
            await self._write(port, PortPhase.RELEASING, Truth.FALSE, "TakenBack", "its rows are leaving OVN")
            return Again(after_s=WAIT_S)
        kept = [name for name in port.metadata.finalizers if name != FINALIZER]
        if kept == port.metadata.finalizers:
            return NEVER
        newest = self._context.caches.ports.get(port.metadata.key) or port
        try:
            await self._context.amend(Kind.PORT, newest.metadata, {"metadata": {"finalizers": kept or None}})
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
        return NEVER

    async def _obstacle(self, port: Port) -> DpuError | None:
        """Why a port is not off its node yet; None when it is."""
        standing = self._pushers.standing(port)
        if self._is_let_go(port):
            return None
        if standing is None:
            return None  # without a NetworkNode there is no daemon to ask: who deleted it has said that it is gone
        if standing.settled:
            if standing.seen is None and not standing.told and not standing.asking:
                return None
            holder = standing.seen.container_id if standing.seen else ""
            words = f"container {holder} still holds it" if holder else "its daemon still has it"
            remedy = "it goes with the container's CNI DEL, or the runtime's GC"
            return DpuError(Reason.IN_USE, words, remedy=remedy, retry=True)
        if await self._is_off(port.spec.node):
            return None
        pusher = self._pushers.pusher_of(port.spec.node)
        why = f": {pusher.error}" if pusher is not None and pusher.error is not None else ""
        return DpuError(
            Reason.UNAVAILABLE,
            f"the daemon of node {port.spec.node} has not given it back{why}",
            remedy=f"bring the daemon back; or, when the node is off for good, taint it with {OUT_OF_SERVICE} or "
            "delete its NetworkNode",
            retry=True,
        )

    def _is_let_go(self, port: Port) -> bool:
        """Whether a node's own port is waited for no longer: its NetworkNode was deleted, and it has not come back."""
        node = self._context.caches.node_of(port.spec.node) if is_node_port(port) else None
        if node is None or node.metadata.deletion_timestamp is None:
            return False
        pusher = self._pushers.pusher_of(port.spec.node)
        waited = self._context.clock() - node.metadata.deletion_timestamp
        return waited.total_seconds() > LET_GO_S or (pusher is not None and pusher.error is not None)

    def _may_be_in_ovn(self, port: Port) -> bool:
        network = self._context.caches.networks.get(port.spec.network_ref.name)
        return network is None or network.spec.driver is NetworkDriver.OVN

    async def _is_off(self, name: str) -> bool:
        """Whether somebody has said that a node runs nothing any more."""
        node = self._context.mirrors.get(Foreign.NODE, name)
        if node is not None:
            return any(taint.get("key") == OUT_OF_SERVICE for taint in seen_items(node, "spec", "taints"))
        if not self._context.mirrors.is_told(Foreign.NODE):
            return False  # a server that has no nodes at all, for the moment, says of each that it is not there
        try:
            await self._context.api.get(Foreign.NODE, name)
        except DpuError as error:
            if error.reason is Reason.NOT_FOUND:
                return True
            raise
        return False

    async def _report(self, port: Port) -> Again:
        """Say how far a port is."""
        rival = self._rival(port)
        if rival:
            return await self._say(port, PortPhase.FAILED, "AddressConflict", rival, WAIT_S)
        standing = self._pushers.standing(port)
        if standing is None:
            return await self._untold(port, "NoNetworkNode", _no_node(port))
        if standing.late:
            if standing.late >> EPOCH_SHIFT == port.spec.epoch:  # else the daemon has not judged the newest yet
                await self._renew(port)
            return Again(after_s=RECHECK_S)
        if not standing.told and standing.refused is None:
            pusher = self._pushers.pusher_of(port.spec.node)
            error = pusher.error if pusher is not None else None
            if error is None and port.metadata.uid not in self._met:
                self._met.add(port.metadata.uid)  # most are told at once: two writes for each would be one too many
                return Again(after_s=FIRST_S)
            reason = error.reason.value if error else "Waiting"
            message = str(error) if error else f"the daemon of node {port.spec.node} is being told"
            missing = self._missing(port)
            return await self._untold(port, "NoSubnet" if missing else reason, missing or message)
        return await self._report_told(port, standing)

    async def _untold(self, port: Port, reason: str, message: str) -> Again:
        """Say why its daemon does not know a port; one that forwarded does so still, as far as is known."""
        if port.status.phase is not PortPhase.READY:
            return await self._say(port, PortPhase.ALLOCATED, reason, message, WAIT_S)
        await self._write(port, PortPhase.READY, Truth.UNKNOWN, reason, f"it forwarded when last heard of; {message}")
        return Again(after_s=WAIT_S)

    def _rival(self, port: Port) -> str:
        """The complaint that an elder has one of the addresses too; empty for none.

        Nothing here gives an address twice; a restored backup, or a hand that writes Ports, may.
        """
        book, own = self._context.caches.addresses.book, port_holding(port)
        for address in own.addresses:
            other = book.of_address(own.subnet, address, but=own.holder)
            if other is not None and (other.epoch, other.holder) < (own.epoch, own.holder):
                return (
                    f"{address} belongs to {other.words} as well: delete pod {port.spec.pod_ref.name}, it gets another"
                )
        return ""

    async def _report_told(self, port: Port, standing: Standing) -> Again:
        if standing.refused is not None:
            message = f"node {port.spec.node} will not have it: {standing.refused}"
            return await self._say(port, PortPhase.FAILED, "Refused", message, WAIT_S)
        seen = standing.seen
        if seen is None or seen.hold in {Hold.ASSIGNED, Hold.RELEASING}:
            message = self._no_ovn(port) or f"node {port.spec.node} is told; no container has it yet"
            await self._write(port, PortPhase.ASSIGNED, Truth.FALSE, "Assigned", message)
            return NEVER
        if seen.hold is Hold.FORWARDING:
            message = f"forwards for container {seen.container_id[:12]} by {seen.representor}"
            await self._write(port, PortPhase.READY, Truth.TRUE, "Forwarding", message, seen.representor)
            return NEVER
        converging = seen.hold is Hold.CONVERGING
        reason, phase = ("Converging", PortPhase.ASSIGNED) if converging else ("Degraded", PortPhase.FAILED)
        message = seen.message or f"container {seen.container_id[:12]} has it; it does not forward"
        await self._write(port, phase, Truth.FALSE, reason, message, seen.representor)
        return NEVER

    def _missing(self, port: Port) -> str:
        """The complaint that a port's subnet or network is gone, so that nobody can be told of it; empty for none."""
        subnet, network = port.spec.subnet_ref.name, port.spec.network_ref.name
        if (
            self._context.caches.subnets.get(subnet) is not None
            and self._context.caches.networks.get(network) is not None
        ):
            return ""
        return f"subnet {subnet} or network {network} does not exist: create them as they were, or delete the pod"

    def _no_ovn(self, port: Port) -> str:
        """The complaint that a port's network is OVN's and there is no OVN; empty for none."""
        network = self._context.caches.networks.get(port.spec.network_ref.name)
        if network is None or network.spec.driver is not NetworkDriver.OVN or self._context.ovn.configured:
            return ""
        return f"network {network.metadata.name} is OVN's, and no OVN is configured: write [ovn] of the coordinator"

    async def _renew(self, port: Port) -> None:
        """Give a port a generation above all that its daemon may have known of its name."""
        epoch = max(int(self._context.clock().timestamp() * 1000), port.spec.epoch + 1000)
        await self._context.amend(Kind.PORT, port.metadata, {"spec": {"epoch": epoch}})

    async def _say(self, port: Port, phase: PortPhase, reason: str, message: str, again_s: float) -> Again:
        await self._write(port, phase, Truth.FALSE, reason, message)
        return Again(after_s=again_s)

    async def _write(
        self, port: Port, phase: PortPhase, truth: Truth, reason: str, message: str, representor: str = ""
    ) -> None:
        newest = self._context.caches.ports.get(port.metadata.key) or port
        conditions = self._context.condition(
            newest.status.conditions,
            Aspect.READY,
            newest.metadata,
            truth=truth,
            reason=reason,
            message=message[:1024],
        )
        status = msgspec.structs.replace(
            newest.status,
            phase=phase,
            observed_generation=newest.metadata.generation,
            representor=representor or newest.status.representor,
            message=message[:1024],
            conditions=conditions,
        )
        try:
            await self._context.write_status(Kind.PORT, newest, status)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise


def _no_node(port: Port) -> str:
    return (
        f"node {port.spec.node} has no NetworkNode: create one that names its daemon "
        f"(kind NetworkNode, spec.nodeName {port.spec.node}, spec.address ADDRESS:PORT)"
    )
