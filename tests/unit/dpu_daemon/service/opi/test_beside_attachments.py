"""OPI objects and attachments share one DPU: its functions, its names, its targets."""

from pathlib import Path

import grpc
import pytest

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.intent import AskedDisk
from dpu_daemon.model.disk import AttachmentSpec, DiskProtocol
from dpu_daemon.service.opi.checks import RESERVED_NQN
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import fake_dpu
from tests.fakes.opi_client import TARGET, OpiClient, refused
from tests.fakes.opi_daemon import OpiDaemon

Code = grpc.StatusCode


def _asked(daemon: OpiDaemon, export: str = "v-1") -> AskedDisk:
    spec = AttachmentSpec(
        volume_id="vol-1",
        size_bytes=1 << 20,
        source=daemon.around.world.serve(export, 1 << 20),
        protocol=DiskProtocol.VIRTIO_BLK,
        serial="",
        nguid="",
    )
    return AskedDisk(attachment_id="att-1", generation=1, spec=spec)


async def test_a_slot_of_an_attachment_is_no_function_for_opi_and_the_other_way_round(
    opi: OpiClient, daemon: OpiDaemon
) -> None:
    await opi.make_null()
    await opi.make_virtio("nullVolumes/n1", slot=1)
    view = await daemon.engine.disks.attach(_asked(daemon), Deadline.after(30))
    assert view.record.slot == 2
    await opi.make_malloc()
    with refused(Code.FAILED_PRECONDITION) as error:
        await opi.make_virtio("mallocVolumes/m1", "v2", slot=2)
    assert "attachment att-1" in error.said
    await opi.make_virtio("mallocVolumes/m1", "v2", slot=3)


async def test_a_target_is_connected_by_opi_or_by_an_attachment(opi: OpiClient, daemon: OpiDaemon) -> None:
    daemon.fake().state.targets[TARGET] = {1: 4096}
    await opi.make_remote()
    await opi.make_path()
    with pytest.raises(DpuError) as error:
        await daemon.engine.disks.attach(_asked(daemon, TARGET), Deadline.after(30))
    assert (error.value.reason, error.value.field) == (Reason.IN_USE, "spec.target.export")
    await opi.delete("nvmeRemoteControllers/c1/nvmePaths/p1")
    await daemon.engine.disks.attach(_asked(daemon, TARGET), Deadline.after(30))
    with refused(Code.FAILED_PRECONDITION) as refusal:
        await opi.make_path()
    assert "attachment att-1" in refusal.said


def test_the_names_that_are_kept_for_attachments_are_those_that_the_driver_gives() -> None:
    from dpu_daemon.drivers.spdk.names import FRONT_PREFIX

    assert RESERVED_NQN == FRONT_PREFIX


async def test_without_a_block_layer_for_it_every_call_says_why(tmp_path: Path) -> None:
    async with fake_dpu(tmp_path) as dpu:
        with refused(Code.UNIMPLEMENTED) as error:
            await OpiClient(dpu.channel()).make_null()
    assert error.said == "the block layer of this DPU cannot make the objects of OPI"
