"""Pods: each one bound to a node gets the ports that it asks for, or is told why not."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import structlog

from coordinator.controllers.loop import NEVER, Again
from coordinator.controllers.net.context import NetContext
from coordinator.controllers.net.wants import Wants
from coordinator.controllers.pool.mirror import key_of
from coordinator.core.ipam.again import give_again
from coordinator.core.ipam.book import AddressBook, Holding
from coordinator.core.ipam.choice import PortRequest, Segments, wants_own_network
from coordinator.core.ipam.pods import Given, give
from coordinator.core.net.assignment import RefusedPod
from coordinator.core.net.pods import (
    GIVEN,
    PodPorts,
    WantedPort,
    amendment,
    holds_ports,
    is_going,
    port_body,
    refused_pod,
)
from coordinator.core.net.told import Told, entries_of, given_annotation, seen_by_kubelet, told_before, told_of
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json, Metadata
from coordinator.core.objects.net import Port
from coordinator.core.pool.fields import seen_text
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

REFUSED = "PortRefused"
RETRY_S = 60.0
TELL_S = 1.0
UNKNOWN_ENDS = frozenset({Reason.UNAVAILABLE, Reason.DEADLINE, Reason.INTERNAL})
"""After these a write may have been made."""


@dataclass(frozen=True, slots=True)
class _Writing:
    """A Port that may have been created: its pod, and the body."""

    pod: str
    body: Json


class PodController:
    """Makes Port objects, and has those judged that a pod no longer asks for.

    Args:
        judge: has the Port of a key looked at.
        ends: whether a Port is on its way out, and goes to the end whatever its pod asks for now.
        refuse: has the node of a pod told why the pod gets no port, so that its ADD can say so; None when it does.
    """

    def __init__(
        self,
        context: NetContext,
        wants: Wants,
        judge: Callable[[str], None],
        ends: Callable[[Port], bool],
        refuse: Callable[[str, str, RefusedPod | None], None],
    ) -> None:
        self.waiting: set[str] = set()
        self._context = context
        self._wants = wants
        self._judge = judge
        self._ends = ends
        self._refuse = refuse
        self._refused_on: dict[str, str] = {}
        self._writing: dict[str, _Writing] = {}
        self._told: dict[str, tuple[str, ...]] = {}
        self._had: dict[str, dict[str, Told]] = {}

    @property
    def book(self) -> AddressBook:
        """Who holds what."""
        return self._context.caches.addresses.book

    async def reconcile(self, key: str) -> Again:
        """Look at one pod."""
        pod = self._context.mirrors.get(Foreign.POD, key)
        await self.resolve(key)
        ports = self._context.caches.ports.by("pod", key)
        if pod is None or not holds_ports(pod):
            self._forget(key)
            for port in ports:
                self._judge(port.metadata.key)
            return NEVER
        asked = self._wants.of_pod(pod)
        problems = list(asked.problems)
        names = {one.name for one in asked.wanted}
        self._remember(key, pod["metadata"]["uid"], asked)
        for port in ports:
            if port.metadata.name not in names or port.spec.pod_ref.uid != pod["metadata"]["uid"]:
                self._judge(port.metadata.key)
        missing, before = False, len(ports)
        for wanted in asked.wanted:
            try:
                missing |= not await self._have(pod, wanted)
            except DpuError as error:
                if error.reason in UNKNOWN_ENDS or error.reason is Reason.CONFLICT:
                    raise
                problems.append(error)
        self._tell(key, pod, problems)
        if problems or missing:
            self.waiting.add(key)
        else:
            self.waiting.discard(key)
        if len(self._context.caches.ports.by("pod", key)) > before:
            return Again(after_s=TELL_S)  # runtimes wait for ports, nobody for the annotation
        await self._annotate(pod, kept=None if asked.problems else names)
        return Again(after_s=RETRY_S) if problems else NEVER

    async def _have(self, pod: Json, wanted: WantedPort) -> bool:
        """Have a port be there as wanted; False when it cannot be made yet, or pods here get none of us."""
        namespace = pod["metadata"]["namespace"]
        found = self._context.caches.ports.get(f"{namespace}/{wanted.name}")
        if found is not None:
            if found.spec.pod_ref.uid != pod["metadata"]["uid"] or self._ends(found):
                return False  # it goes first; its end wakes this pod
            patch = amendment(found, wanted)
            if patch:
                await self._context.amend(Kind.PORT, found.metadata, {"spec": patch})
            return True
        if is_going(pod):
            return True
        key, segments = key_of(pod), self._wants.segments()
        request = self._wants.request(pod, wanted)
        had = self._had.get(key, {}).get(wanted.name)
        lost = had or told_before(pod, wanted.name)
        if lost is not None:  # somebody took the Port away under the pod: the container has what it had
            request = replace(request, subnet=lost.subnet, addresses=lost.addresses, mac=lost.mac, exact=True)
        elif wanted.own and not wants_own_network(request, segments):
            return False
        known = had is not None or (lost is not None and wanted.own and seen_by_kubelet(pod, lost))

        def body(given: Given, now_ms: int) -> Json:
            return port_body(pod, wanted, given, mtu=segments.networks[given.network].spec.mtu, epoch=now_ms)

        try:
            await self.make(key, request, segments, body, give_again if known else give)
        except DpuError as error:
            if lost is None or error.reason in UNKNOWN_ENDS or error.reason is Reason.CONFLICT:
                raise
            raise _not_again(wanted.name, error) from error
        return True

    def _remember(self, key: str, uid: str, asked: PodPorts) -> None:
        """What the pod has, should somebody take a Port away: this is known, and the annotation only told."""
        names = {one.name for one in asked.wanted}
        there = {one.metadata.name: one for one in self._context.caches.ports.by("pod", key)}
        had = {name: told for name, told in self._had.get(key, {}).items() if name not in there}
        had |= {
            name: told_of(one) for name, one in there.items() if one.spec.pod_ref.uid == uid and not self._ends(one)
        }
        had = {name: told for name, told in had.items() if asked.problems or name in names}
        self._had.pop(key, None)
        if had:
            self._had[key] = had

    async def make(
        self,
        pod: str,
        request: PortRequest,
        segments: Segments,
        body_of: Callable[[Given, int], Json],
        decide: Callable[[AddressBook, PortRequest, Segments], Given] = give,
    ) -> None:
        """Decide on a port, and create it.

        Args:
            pod: who it is for; `resolve` learns what became of a creation without an answer.
            body_of: the Port object, of what is given and the epoch.
            decide: what is given.
        """
        given = decide(self.book, request, segments)
        now_ms = int(self._context.clock().timestamp() * 1000)
        body = body_of(given, now_ms)
        self._context.caches.addresses.reserve(
            Holding(
                holder=request.holder,
                words=f"pod {pod}",
                network=given.network,
                mac=given.mac,
                subnet=given.subnet,
                addresses=given.addresses,
                epoch=now_ms,
            )
        )
        meta = body["metadata"]
        await self._create(f"{meta['namespace']}/{meta['name']}", _Writing(pod, body))

    async def _create(self, port: str, writing: _Writing) -> None:
        """Create a Port whose addresses are held. While it is not known whether that was done, they stay held."""
        self._writing[port] = writing
        try:
            await self._context.create(Kind.PORT, writing.body)
        except DpuError as error:
            if error.reason in UNKNOWN_ENDS:
                raise
            if error.reason is Reason.ALREADY_EXISTS:
                await self._take_over(port)
                raise DpuError(Reason.CONFLICT, f"Port {port} is there already", retry=True) from error
            self._drop_writing(port)
            raise
        self._writing.pop(port, None)

    async def resolve(self, pod: str) -> None:
        """Learn what became of creations whose end is not known."""
        for port in [port for port, writing in self._writing.items() if writing.pod == pod]:
            await self._take_over(port)

    async def _take_over(self, port: str) -> None:
        """Take in a Port as the API has it, or that it has none."""
        namespace, _, name = port.partition("/")
        try:
            self._context.absorb(Kind.PORT, await self._context.api.get(Kind.PORT, name, namespace))
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
        self._drop_writing(port)

    def _drop_writing(self, port: str) -> None:
        self._writing.pop(port, None)
        self._context.caches.addresses.cancel(port)

    def _tell(self, key: str, pod: Json, problems: list[DpuError]) -> None:
        """Say on the pod what it does not get and why, when that is news."""
        self._explain(key, pod["spec"]["nodeName"], refused_pod(pod, problems) if problems else None)
        messages = tuple(str(problem) for problem in problems)
        if messages == self._told.get(key, ()):
            return
        meta = Metadata.parse(pod["metadata"])
        for problem in problems:
            self._context.events.tell(Foreign.POD, meta, REFUSED, str(problem), warning=True)
        if messages:
            self._told[key] = messages
        else:
            self._told.pop(key, None)

    def _explain(self, key: str, node: str, refused: RefusedPod | None) -> None:
        """Have its node know why a pod lacks a port; a pod of its name that was elsewhere is none of that node's."""
        before = self._refused_on.pop(key, node)
        if before != node or refused is None:
            self._refuse(before, key, None)
        if refused is not None:
            self._refused_on[key] = node
            self._refuse(node, key, refused)

    async def _annotate(self, pod: Json, kept: Collection[str] | None) -> None:
        """Tell on the pod what it has, and what its container has that was taken away.

        Args:
            kept: names of the ports that it asks for; the others are on their way out. None when that cannot be read.
        """
        meta = pod["metadata"]
        own = [one for one in self._context.caches.ports.by("pod", key_of(pod)) if one.spec.pod_ref.uid == meta["uid"]]
        ports = [port for port in own if (kept is None or port.metadata.name in kept) and not self._ends(port)]
        there, of_pod = {port.metadata.name for port in own}, meta["uid"].replace("-", "")[:8]
        lost = [  # what the container has must be known to whoever makes the Port again, also after a start
            entry
            for name, entry in entries_of(pod).items()
            if name not in there and (name.endswith(of_pod) if kept is None else name in kept)
        ]
        value = given_annotation(ports, lost)
        if value == seen_text(pod, "metadata", "annotations", GIVEN) or is_going(pod):
            return
        body: Json = {"metadata": {"annotations": {GIVEN: value or None}, "uid": meta["uid"]}}
        try:
            answer = await self._context.api.patch(Foreign.POD, meta["name"], body, meta["namespace"])
        except DpuError as error:
            if error.reason not in {Reason.NOT_FOUND, Reason.CONFLICT, Reason.INVALID}:
                raise
            log.info("pod not annotated", pod=key_of(pod), error=str(error))
        else:
            self._context.mirrors.absorb(Foreign.POD, answer)

    def _forget(self, key: str) -> None:
        self.waiting.discard(key)
        self._told.pop(key, None)
        self._had.pop(key, None)
        if node := self._refused_on.get(key):
            self._explain(key, node, None)


def _not_again(port: str, error: DpuError) -> DpuError:
    return DpuError(
        error.reason,
        f"Port {port} was taken away, and cannot be made again as the container has it: {error.message}",
        field=f"metadata.annotations[{GIVEN}]",
        remedy="delete the pod: the one that comes after it gets a port of its own",
    )
