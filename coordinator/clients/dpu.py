"""The daemon on a DPU, by gRPC."""

from collections.abc import AsyncIterator

import grpc.aio

from coordinator.clients.channel import call, told
from coordinator.clients.model import (
    DaemonEvent,
    DaemonInfo,
    DaemonUsage,
    Disk,
    DiskCounters,
    DiskSpec,
    EventSubject,
    Port,
    PortSpec,
    ProbeReport,
    SeedSpec,
)
from coordinator.clients.offload import GrpcOffload, SwitchWhere
from coordinator.clients.storage import StorageSecrets
from coordinator.clients.wire import disk_from, disk_spec_to, port_from, qos_to, secrets_to
from coordinator.core.objects.storage import Qos
from proto.dpu.v1 import (
    host_pb2,
    host_pb2_grpc,
    lifecycle_pb2,
    lifecycle_pb2_grpc,
    network_pb2,
    network_pb2_grpc,
    storage_pb2,
    storage_pb2_grpc,
)

LOOK_S = 5.0
ACT_S = 30.0
"""Longer than a daemon's own deadlines for a step, so that its reason arrives and not our impatience."""


class GrpcDpu:
    """`coordinator.clients.protocols.Dpu` over one channel."""

    def __init__(self, name: str, channel: grpc.aio.Channel) -> None:
        self._who = f"DPU {name}"
        self._storage = storage_pb2_grpc.StorageServiceStub(channel)
        self._network = network_pb2_grpc.NetworkServiceStub(channel)
        self._life = lifecycle_pb2_grpc.LifecycleServiceStub(channel)
        self._host = host_pb2_grpc.HostServiceStub(channel)
        self._switch = GrpcOffload(self._who, channel)

    async def attach(self, attachment_id: str, generation: int, spec: DiskSpec) -> Disk:
        request = storage_pb2.AttachRequest(attachment_id=attachment_id, generation=generation, spec=disk_spec_to(spec))
        return disk_from(await call(self._who, self._storage.Attach(request, timeout=ACT_S)))

    async def detach(self, attachment_id: str, generation: int, *, force: bool = False) -> str:
        request = storage_pb2.DetachRequest(attachment_id=attachment_id, generation=generation, force=force)
        answer = await call(self._who, self._storage.Detach(request, timeout=ACT_S))
        return str(answer.outcome)

    async def list_disks(self) -> list[Disk]:
        request = storage_pb2.ListAttachmentsRequest()
        answer = await call(self._who, self._storage.ListAttachments(request, timeout=LOOK_S))
        return [disk_from(found) for found in answer.attachments]

    async def resize(self, attachment_id: str, size_bytes: int) -> Disk:
        request = storage_pb2.ResizeRequest(attachment_id=attachment_id, size_bytes=size_bytes)
        return disk_from(await call(self._who, self._storage.Resize(request, timeout=ACT_S)))

    async def set_qos(self, attachment_id: str, qos: Qos) -> Disk:
        request = storage_pb2.SetQosRequest(attachment_id=attachment_id, qos=qos_to(qos))
        return disk_from(await call(self._who, self._storage.SetQos(request, timeout=ACT_S)))

    async def stats(self, attachment_id: str) -> DiskCounters:
        request = storage_pb2.GetStatsRequest(attachment_id=attachment_id)
        found = await call(self._who, self._storage.GetStats(request, timeout=LOOK_S))
        return DiskCounters(**{name: getattr(found, name) for name in DiskCounters.__struct_fields__})

    async def put_credentials(self, secrets: StorageSecrets) -> None:
        await call(self._who, self._storage.PutCredentials(secrets_to(secrets), timeout=ACT_S))

    async def delete_credentials(self, name: str) -> None:
        request = storage_pb2.DeleteCredentialsRequest(name=name)
        await call(self._who, self._storage.DeleteCredentials(request, timeout=ACT_S))

    async def plug_port(self, port_id: str, generation: int, spec: PortSpec) -> Port:
        wanted = network_pb2.PortSpec(
            mac=spec.mac,
            addresses=spec.addresses,
            network_id=spec.network_id,
            vlan=spec.vlan,
            mtu=spec.mtu,
            bridge=spec.bridge,
            machine_id=spec.machine_id,
        )
        request = network_pb2.PlugPortRequest(port_id=port_id, generation=generation, spec=wanted)
        return port_from(await call(self._who, self._network.PlugPort(request, timeout=ACT_S)))

    async def unplug_port(self, port_id: str, generation: int, *, force: bool = False) -> str:
        request = network_pb2.UnplugPortRequest(port_id=port_id, generation=generation, force=force)
        answer = await call(self._who, self._network.UnplugPort(request, timeout=ACT_S))
        return str(answer.outcome)

    async def list_ports(self) -> list[Port]:
        request = network_pb2.ListPortsRequest()
        answer = await call(self._who, self._network.ListPorts(request, timeout=LOOK_S))
        return [port_from(found) for found in answer.ports]

    async def put_seed(self, spec: SeedSpec) -> None:
        request = lifecycle_pb2.PutSeedRequest(
            machine_id=spec.machine_id,
            generation=spec.generation,
            user_data=spec.user_data,
            meta_data=spec.meta_data,
            network_config=spec.network_config,
        )
        await call(self._who, self._life.PutSeed(request, timeout=ACT_S))

    async def wait_answer(self, port_id: str, address: str, probe: str, timeout_s: float) -> AsyncIterator[ProbeReport]:
        request = lifecycle_pb2.WaitAnswerRequest(
            port_id=port_id, address=address, probe_address=probe, timeout_ms=int(timeout_s * 1000)
        )
        async with told(self._who):
            async for report in self._life.WaitAnswer(request, timeout=timeout_s + LOOK_S):
                yield ProbeReport(
                    attempt=report.attempt,
                    arp_answered=report.arp_answered,
                    answered=report.answered,
                    message=report.message,
                )

    async def release_machine(self, machine_id: str, generation: int, *, force: bool = False) -> list[str]:
        request = lifecycle_pb2.ReleaseMachineRequest(machine_id=machine_id, generation=generation, force=force)
        answer = await call(self._who, self._life.ReleaseMachine(request, timeout=ACT_S))
        return list(answer.released)

    async def daemon(self) -> DaemonInfo:
        answer = await call(self._who, self._host.GetDaemon(host_pb2.GetDaemonRequest(), timeout=LOOK_S))
        return DaemonInfo(
            version=answer.version,
            instance_id=answer.instance_id,
            ready=answer.ready,
            message=answer.message,
            drivers=dict(answer.drivers),
            disk_slots=answer.disk_slots,
            disk_slots_used=answer.disk_slots_used,
            nic_slots=answer.nic_slots,
            nic_slots_used=answer.nic_slots_used,
            queue_depth=answer.queue_depth,
            event_sequence=answer.event_sequence,
            host_nqn=answer.host_nqn,
        )

    async def usage(self) -> DaemonUsage:
        answer = await call(self._who, self._host.GetUsage(host_pb2.GetUsageRequest(), timeout=LOOK_S))
        return DaemonUsage(
            cpu_percent=answer.cpu_percent,
            memory_available_bytes=answer.memory_available_bytes,
            daemon_rss_bytes=answer.daemon_rss_bytes,
        )

    async def offload(self) -> SwitchWhere:
        return await self._switch.offload()

    async def events(self, since: int) -> AsyncIterator[DaemonEvent]:
        async with told(self._who):
            async for event in self._host.WatchEvents(host_pb2.WatchEventsRequest(since=since)):
                known = event.kind in {subject.value for subject in EventSubject}
                yield DaemonEvent(
                    sequence=event.sequence,
                    subject=EventSubject(event.kind) if known else EventSubject.OTHER,
                    id=event.id,
                    reason=event.reason,
                    message=event.message,
                    warning=event.warning,
                )
