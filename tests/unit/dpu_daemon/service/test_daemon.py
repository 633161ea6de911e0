"""A whole daemon on fake drivers, called over gRPC."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from proto.dpu.v1 import host_pb2, lifecycle_pb2, network_pb2, storage_pb2, target_pb2
from proto.dpu.v1.host_pb2_grpc import HostServiceStub
from proto.dpu.v1.lifecycle_pb2_grpc import LifecycleServiceStub
from proto.dpu.v1.network_pb2_grpc import NetworkServiceStub
from proto.dpu.v1.storage_pb2_grpc import StorageServiceStub
from proto.dpu.v1.target_pb2_grpc import TargetServiceStub
from tests.fakes.daemon import fake_dpu, fake_storage

GIB = 1 << 30


async def test_a_machine_gets_a_cloned_disk_a_seed_and_a_port_and_loses_them_again(tmp_path: Path) -> None:
    async with fake_dpu(tmp_path) as dpu, fake_storage(tmp_path, world=dpu.world) as storage:
        dpu.world.state.image_files["tiny.qcow2"] = GIB
        target = TargetServiceStub(storage.channel())
        await target.ImportImage(target_pb2.ImportImageRequest(image_id="img-1", source="tiny.qcow2", format="qcow2"))
        await target.CreateVolume(
            target_pb2.CreateVolumeRequest(volume_id="vol-1", size_bytes=GIB, source_image_id="img-1")
        )
        export = await target.ExportVolume(target_pb2.ExportVolumeRequest(volume_id="vol-1", dpu="dpu-1", generation=1))
        channel = dpu.channel()
        disks = StorageServiceStub(channel)
        spec = storage_pb2.AttachmentSpec(
            volume_id="vol-1", size_bytes=GIB, target=export.target, boot_order=1, machine_id="bm-01"
        )
        disk = await disks.Attach(storage_pb2.AttachRequest(attachment_id="att-1", generation=1, spec=spec))
        assert (disk.state, disk.slot) == (storage_pb2.ATTACHMENT_STATE_ATTACHED, 0)
        life = LifecycleServiceStub(channel)
        seed = await life.PutSeed(
            lifecycle_pb2.PutSeedRequest(machine_id="bm-01", generation=1, user_data="#!/bin/sh\n", meta_data="x: y\n")
        )
        assert seed.present
        net = NetworkServiceStub(channel)
        port = await net.PlugPort(
            network_pb2.PlugPortRequest(
                port_id="port-1",
                generation=1,
                spec=network_pb2.PortSpec(
                    mac="02:00:00:00:01:01", addresses=["10.77.0.11/24"], network_id="net-1", machine_id="bm-01"
                ),
            )
        )
        assert (port.state, port.representor, port.vf) == (network_pb2.PORT_STATE_FORWARDING, "pf0vf0", 0)
        released = await life.ReleaseMachine(lifecycle_pb2.ReleaseMachineRequest(machine_id="bm-01", generation=1))
        assert len(released.released) == 3
        assert not any((dpu.world.state.disks, dpu.world.state.functions, dpu.world.state.nics))
        assert dpu.world.state.seed_files == {}
        await target.UnexportVolume(target_pb2.UnexportVolumeRequest(volume_id="vol-1", generation=1))
        await target.DeleteVolume(target_pb2.DeleteVolumeRequest(volume_id="vol-1"))
        assert dpu.world.state.volumes == {}


async def test_a_daemon_says_what_it_is_and_that_it_is_ready(tmp_path: Path) -> None:
    async with fake_dpu(tmp_path) as dpu:
        host = HostServiceStub(dpu.channel())
        async with asyncio.timeout(30):
            await dpu.engine.core.audit.converged.wait()
        about = await host.GetDaemon(host_pb2.GetDaemonRequest())
        assert (about.name, about.mode, about.ready, about.disk_slots) == ("dpu-1", "dpu", True, 8)
        assert about.drivers["block"] == "fake-block 1.0"
        usage = await host.GetUsage(host_pb2.GetUsageRequest())
        assert usage.memory_total_bytes > usage.daemon_rss_bytes > 0


async def test_events_are_streamed_from_where_the_watcher_left_off(tmp_path: Path) -> None:
    async with fake_dpu(tmp_path) as dpu:
        host = HostServiceStub(dpu.channel())
        stream = host.WatchEvents(host_pb2.WatchEventsRequest(since=0))
        first = await stream.read()
        assert (first.sequence, first.reason) == (1, "Started")
        stream.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await host.WatchEvents(host_pb2.WatchEventsRequest(since=99_999)).read()
        assert refused.value.code() is grpc.StatusCode.OUT_OF_RANGE
