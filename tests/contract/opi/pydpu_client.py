"""What an independent client does with an OPI server; run by a Python that has pydpu and knows nothing of ours.

    PYTHON pydpu_client.py ADDRESS

Prints one word per step that went as its library expects, and ends with a traceback otherwise.
"""

import sys

import grpc
from google.protobuf import wrappers_pb2
from pydpu.proto.v1 import (
    backend_malloc_pb2,
    backend_malloc_pb2_grpc,
    frontend_virtio_blk_pb2,
    frontend_virtio_blk_pb2_grpc,
    middleend_qos_volume_pb2,
    middleend_qos_volume_pb2_grpc,
    opicommon_pb2,
)
from pydpu.storage import NvmeController, NvmeNamespace, NvmeSubsystem


def say(word: str) -> None:
    print(word, flush=True)  # noqa: T201


def malloc(address: str, name: str) -> str:
    with grpc.insecure_channel(address) as channel:
        stub = backend_malloc_pb2_grpc.MallocVolumeServiceStub(channel)
        volume = backend_malloc_pb2.MallocVolume(block_size=512, blocks_count=2048)
        request = backend_malloc_pb2.CreateMallocVolumeRequest(malloc_volume=volume, malloc_volume_id=name)
        return str(stub.CreateMallocVolume(request).name)


def layers(address: str) -> None:
    volume = malloc(address, "pydpu-2")
    with grpc.insecure_channel(address) as channel:
        qos = middleend_qos_volume_pb2_grpc.MiddleendQosVolumeServiceStub(channel)
        limits = middleend_qos_volume_pb2.Limits(max=opicommon_pb2.QosLimit(rw_iops_kiops=3))
        message = middleend_qos_volume_pb2.QosVolume(volume_name_ref=volume, limits=limits)
        qos.CreateQosVolume(middleend_qos_volume_pb2.CreateQosVolumeRequest(qos_volume=message, qos_volume_id="q"))
        listed = qos.ListQosVolumes(middleend_qos_volume_pb2.ListQosVolumesRequest(parent="todo"))
        assert [each.name for each in listed.qos_volumes] == ["qosVolumes/q"]
        virtio = frontend_virtio_blk_pb2_grpc.FrontendVirtioBlkServiceStub(channel)
        where = opicommon_pb2.PciEndpoint(
            port_id=wrappers_pb2.Int32Value(value=0),
            physical_function=wrappers_pb2.Int32Value(value=3),
            virtual_function=wrappers_pb2.Int32Value(value=0),
        )
        disk = frontend_virtio_blk_pb2.VirtioBlk(pcie_id=where, volume_name_ref="qosVolumes/q")
        request = frontend_virtio_blk_pb2.CreateVirtioBlkRequest(virtio_blk=disk, virtio_blk_id="v")
        assert virtio.CreateVirtioBlk(request).pcie_id == where
        virtio.DeleteVirtioBlk(frontend_virtio_blk_pb2.DeleteVirtioBlkRequest(name="virtioBlks/v"))
        qos.DeleteQosVolume(middleend_qos_volume_pb2.DeleteQosVolumeRequest(name="qosVolumes/q"))
    say("layers")


def main(address: str) -> None:
    subsystem = NvmeSubsystem(nqn="nqn.2026-01.io.example:pydpu")
    made = subsystem.create(address)
    assert (made.name, made.spec.serial_number) == (subsystem.name, "OPI SN")
    assert subsystem.create(address) == made
    assert subsystem.update(address) == made
    assert subsystem.get(address) == made
    assert [each.name for each in subsystem.list(address).nvme_subsystems] == [subsystem.name]
    say("subsystem")
    controller = NvmeController(subsystem=subsystem, queue=1024, pf=1, vf=0)
    assert controller.create(address).spec.pcie_id.physical_function.value == 1
    assert controller.get(address).status.active
    assert len(controller.list(address).nvme_controllers) == 1
    say("controller")
    namespace = NvmeNamespace(subsystem=subsystem, volume=malloc(address, "pydpu-1"))
    assert namespace.create(address).spec.host_nsid == 1
    assert namespace.get(address).spec.eui64 == 1967554867335598546
    assert namespace.stats(address).stats.read_ops_count == 0
    assert subsystem.stats(address).stats.read_ops_count == 0
    say("namespace")
    namespace.delete(address)
    controller.delete(address)
    subsystem.delete(address)
    say("deleted")
    layers(address)


if __name__ == "__main__":
    main(sys.argv[1])
