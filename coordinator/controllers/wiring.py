"""All controllers of a process: who is told of what, and their start and end."""

import asyncio
from typing import Any

import structlog

from coordinator.clients.model import DaemonEvent, EventSubject
from coordinator.controllers.attachment import AttachmentController
from coordinator.controllers.cache import Listener
from coordinator.controllers.context import Context
from coordinator.controllers.credentials import ALL as ALL_CREDENTIALS
from coordinator.controllers.credentials import Credentials
from coordinator.controllers.dpu import DpuController
from coordinator.controllers.host import HostController
from coordinator.controllers.image import ImageController
from coordinator.controllers.informer import Informer
from coordinator.controllers.jobs import Jobs
from coordinator.controllers.loop import Controller
from coordinator.controllers.machine import MachineController
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.network import NetworkController, SubnetController
from coordinator.controllers.snapshot import SnapshotController
from coordinator.controllers.volume import VolumeController
from coordinator.core.machine.names import UID_LABEL, port_id
from coordinator.core.objects.fleet import Dpu, Host
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.machine import Machine, Phase
from coordinator.core.objects.storage import Attachment, Image, Snapshot, Volume

log = structlog.get_logger(__name__)

COUNT_S = 1.0


class Controllers:
    """The controllers of this process. `run` serves until it is cancelled."""

    def __init__(self, context: Context, metrics: ControllerMetrics) -> None:
        self._context = context
        self._caches = context.caches
        self._informers = {kind: Informer(context.api, cache) for kind, cache in context.caches.by_kind.items()}
        self._jobs = Jobs(context.clock, self._step_ended)
        self._hosts = HostController(context)
        machine = MachineController(context, self._jobs, metrics, self._doubt)
        credentials = Credentials(context)
        attachment = AttachmentController(context, credentials)
        self._dpus = DpuController(context, self._news)
        self._machines, self._attachments = machine, attachment
        self._machine = Controller("machine", machine.reconcile, metrics, lanes={"all": 16})
        self._volume = Controller("volume", VolumeController(context).reconcile, metrics, lanes={"all": 16})
        self._snapshot = Controller("snapshot", SnapshotController(context).reconcile, metrics, lanes={"all": 16})
        self._credentials = Controller("credentials", credentials.reconcile, metrics, lanes={"all": 1})
        self._attachment = Controller(
            "attachment",
            attachment.reconcile,
            metrics,
            lanes={"attach": 16, "detach": 16},
            lane_of=attachment.lane_of,
        )
        self._image = Controller("image", ImageController(context).reconcile, metrics, lanes={"all": 4})
        self._host = Controller("host", self._hosts.reconcile, metrics, lanes={"all": 16})
        self._dpu = Controller("dpu", self._dpus.reconcile, metrics, lanes={"all": 16})
        self._network = Controller("network", NetworkController(context).reconcile, metrics, lanes={"all": 2})
        self._subnet = Controller("subnet", SubnetController(context).reconcile, metrics, lanes={"all": 2})
        self._dpus.wanted = self._dpu.queue.add
        self._route()

    @property
    def synced(self) -> bool:
        """Whether every kind was listed once."""
        return all(informer.synced.is_set() for informer in self._informers.values())

    async def wait_synced(self) -> None:
        """Wait until every kind was listed once."""
        for informer in self._informers.values():
            await informer.synced.wait()

    async def run(self) -> None:
        """Serve until cancelled: first every cache is filled, then the queues are worked on."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._context.events.run(), name="events")
                for kind, informer in self._informers.items():
                    tasks.create_task(informer.run(), name=f"informer of {kind.value}")
                await self.wait_synced()
                log.info("controllers start", objects=sum(len(cache.all()) for cache in self._caches.by_kind.values()))
                self._credentials.queue.add(ALL_CREDENTIALS)
                for controller in self._all():
                    tasks.create_task(controller.run(), name=f"controller {controller.name}")
        finally:
            await self._jobs.close()
            await self._dpus.close()

    def _doubt(self, host: str) -> None:
        self._hosts.distrust(host)
        self._host.queue.add(host)

    def _step_ended(self, key: str) -> None:
        self._machine.queue.add(key)

    def _all(self) -> list[Controller]:
        return [
            self._machine,
            self._volume,
            self._snapshot,
            self._credentials,
            self._attachment,
            self._image,
            self._host,
            self._dpu,
            self._network,
            self._subnet,
        ]

    def _route(self) -> None:
        """Have each kind's changes reach the keys that they concern."""
        routes: dict[Kind, Listener] = {
            Kind.MACHINE: self._on_machine,
            Kind.HOST: self._on_host,
            Kind.IMAGE: self._on_image,
            Kind.VOLUME: self._on_volume,
            Kind.SNAPSHOT: self._on_snapshot,
            Kind.ATTACHMENT: self._on_attachment,
            Kind.DPU: self._on_dpu,
            Kind.NETWORK: self._on_network,
            Kind.SUBNET: self._on_subnet,
            Kind.PORT: self._on_port,
        }
        for kind, listener in routes.items():
            self._caches.by_kind[kind].listen(listener)

    def _on_machine(self, key: str, before: Machine | None, after: Machine | None) -> None:
        self._machine.queue.add(key)
        if after is None and before is not None:
            self._machines.gone(before.metadata.uid)
            for subnet in self._caches.subnets.all():
                self._subnet.queue.add(subnet.metadata.key)
        elif after is not None and (before is None or before.spec == after.spec):
            self._wake_hosts_of(after)
        if after is None or after.metadata.deleting:
            self._wake_waiting()

    def _wake_hosts_of(self, machine: Machine) -> None:
        for host in self._caches.hosts.by("holder", machine.metadata.uid):
            if machine.metadata.deleting:
                self._host.queue.add(host.metadata.key)

    def _on_host(self, key: str, before: Host | None, after: Host | None) -> None:
        self._host.queue.add(key)
        for host in (before, after):
            if host is not None and host.spec.claim_ref is not None:
                self._machine.queue.add(f"{host.spec.claim_ref.namespace}/{host.spec.claim_ref.name}")
        if after is None or before is None or _availability(before) != _availability(after):
            self._wake_waiting()
        if before is None or after is None or before.spec.dpu_ref != after.spec.dpu_ref:
            for attachment in self._caches.attachments.by("host", key):
                self._attachment.queue.add(attachment.metadata.key)

    def _on_image(self, key: str, _before: Image | None, _after: Image | None) -> None:
        self._image.queue.add(key)
        for volume in self._caches.volumes.by("image", key):
            self._volume.queue.add(volume.metadata.key)
        for machine in self._caches.machines.by("image", key):
            self._machine.queue.add(machine.metadata.key)

    def _on_volume(self, key: str, before: Volume | None, after: Volume | None) -> None:
        self._volume.queue.add(key)
        for attachment in self._caches.attachments.by("volume", key):
            self._attachment.queue.add(attachment.metadata.key)
        self._wake_owner(after or before)
        found = after or before
        if before is None or after is None or _standing(before) != _standing(after):
            self._wake_beside(key, found)
        ref = found.spec.source.image_ref if found else None
        if ref is not None and (before is None or after is None):
            self._image.queue.add(ref.name)
        for machine in self._caches.machines.all() if before is None else ():
            if any(
                d.volume_ref and f"{machine.metadata.namespace}/{d.volume_ref.name}" == key for d in machine.spec.disks
            ):
                self._machine.queue.add(machine.metadata.key)

    def _wake_beside(self, key: str, volume: Volume | None) -> None:
        """A volume came, became usable, or goes: snapshots of it, clones of it and its own source may go on."""
        for clone in self._caches.volumes.by("volume", key):
            self._volume.queue.add(clone.metadata.key)
        for snapshot in self._caches.snapshots.by("volume", key):
            self._snapshot.queue.add(snapshot.metadata.key)
            self._wake_group(snapshot)
        source = volume.spec.source if volume else None
        if volume is not None and source is not None and source.volume_ref is not None:
            self._volume.queue.add(f"{volume.metadata.namespace}/{source.volume_ref.name}")
        if volume is not None and source is not None and source.snapshot_ref is not None:
            self._snapshot.queue.add(f"{volume.metadata.namespace}/{source.snapshot_ref.name}")

    def _on_snapshot(self, key: str, before: Snapshot | None, after: Snapshot | None) -> None:
        self._snapshot.queue.add(key)
        found = after or before
        if found is None:
            return
        self._wake_group(found)
        for clone in self._caches.volumes.by("snapshot", key):
            self._volume.queue.add(clone.metadata.key)
        if before is None or after is None or before.status.phase is not after.status.phase:
            self._volume.queue.add(f"{found.metadata.namespace}/{found.spec.volume_ref.name}")

    def _wake_group(self, snapshot: Snapshot) -> None:
        if snapshot.spec.group_id:
            group = f"{snapshot.metadata.namespace}/{snapshot.spec.group_id}"
            for other in self._caches.snapshots.by("group", group):
                self._snapshot.queue.add(other.metadata.key)

    def _on_attachment(self, key: str, before: Attachment | None, after: Attachment | None) -> None:
        self._attachment.queue.add(key)
        found = after or before
        if found is None:
            return
        volume = f"{found.metadata.namespace}/{found.spec.volume_ref.name}"
        came = before is None or after is None or before.metadata.deleting != after.metadata.deleting
        if came or (before and after and before.status.phase is not after.status.phase):
            self._volume.queue.add(volume)
        if came:
            for other in self._caches.attachments.by("volume", volume):
                self._attachment.queue.add(other.metadata.key)
        self._wake_owner(found)

    def _on_dpu(self, key: str, before: Dpu | None, after: Dpu | None) -> None:
        self._dpu.queue.add(key)
        if after is None:
            self._credentials.queue.add(ALL_CREDENTIALS)
        same = before is not None and after is not None and before.status.phase is after.status.phase
        if same and before is not None and after is not None and _life(before) == _life(after):
            return
        for host in self._caches.hosts.by("dpu", key):
            self._host.queue.add(host.metadata.key)
            if host.spec.claim_ref is not None:
                self._machine.queue.add(f"{host.spec.claim_ref.namespace}/{host.spec.claim_ref.name}")
            for attachment in self._caches.attachments.by("host", host.metadata.name):
                self._attachment.queue.add(attachment.metadata.key)
        for attachment in self._caches.attachments.by("dpu", key):
            self._attachment.queue.add(attachment.metadata.key)
        self._wake_waiting()

    def _on_network(self, key: str, _before: Any, _after: Any) -> None:
        self._network.queue.add(key)
        for subnet in self._caches.subnets.by("network", key):
            self._subnet.queue.add(subnet.metadata.key)
        self._wake_waiting()

    def _on_subnet(self, key: str, before: Any, after: Any) -> None:
        self._subnet.queue.add(key)
        for subnet in (before, after):
            if subnet is not None:
                self._network.queue.add(subnet.spec.network_ref.name)
        if before is None or after is None or before.spec != after.spec:
            for machine in self._caches.machines.all():
                if any(nic.subnet_ref.name == key for nic in machine.spec.nics):
                    self._machine.queue.add(machine.metadata.key)
        else:
            self._wake_waiting()

    def _on_port(self, _key: str, before: Any, after: Any) -> None:
        """A pod got or gave back addresses: many at a time, so they are counted a little later, together."""
        if before is None or after is None:
            spec = (after or before).spec
            self._subnet.queue.add_after(spec.subnet_ref.name, COUNT_S)
            self._network.queue.add_after(spec.network_ref.name, COUNT_S)

    def _wake_owner(self, found: Volume | Attachment | None) -> None:
        uid = found.metadata.labels.get(UID_LABEL, "") if found else ""
        for machine in self._caches.machines.by("uid", uid) if uid else ():
            self._machine.queue.add(machine.metadata.key)

    def _wake_waiting(self) -> None:
        """Something became free or well: machines that wait for that look again."""
        for machine in self._caches.machines.all():
            if machine.status.phase in {None, Phase.PENDING, Phase.ALLOCATING, Phase.FAILED}:
                self._machine.queue.add(machine.metadata.key)

    def _news(self, event: DaemonEvent) -> None:
        """A DPU told of something: look at what it concerns."""
        if event.subject is EventSubject.ATTACHMENT:
            self._attachments.distrust(event.id)
            for attachment in self._caches.attachments.by("uid", event.id):
                self._attachment.queue.nudge(attachment.metadata.key)
        elif event.subject is EventSubject.PORT:
            for machine in self._caches.machines.all():
                uid = machine.metadata.uid
                if any(port_id(uid, nic.name) == event.id for nic in machine.spec.nics):
                    self._machine.queue.add(machine.metadata.key)


def _standing(volume: Volume) -> tuple[object, ...]:
    return (volume.usable, volume.status.phase, volume.metadata.deleting, bool(volume.metadata.finalizers))


def _life(dpu: Dpu) -> tuple[object, ...]:
    return (dpu.status.instance_id, dpu.status.host_nqn)


def _availability(host: Host) -> tuple[object, ...]:
    spec = host.spec
    hands = (spec.claim_ref, spec.pool_ref, spec.lease.pool, spec.lease.reserved_for)
    return (host.status.phase, *hands, spec.unschedulable, host.metadata.labels, spec.hardware)
