"""Files of a real storage node: half-made ones, hostile ones, shredded ones."""

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.model.volume import Export, Image, ImageFormat
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.drivers.images import MIB
from tests.contract.drivers.target_rigs import RealTargetRig, volume
from tests.fakes.qsd import qemu_io

pytestmark = pytest.mark.real


@pytest.fixture
async def rig() -> AsyncIterator[RealTargetRig]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        made = RealTargetRig(Path(name))
        try:
            await made.start()
            yield made
        finally:
            await made.stop()


async def test_what_a_kill_left_half_made_is_gone_after_a_look_and_its_name_free(rig: RealTargetRig) -> None:
    want = volume()
    half = rig.volumes / f"{want.handle}.unfinished"
    half.write_bytes(b"QFI\xfb half a header")
    session = rig.driver._session
    await session.execute("blockdev-add", {"driver": "file", "filename": str(half), "node-name": f"{want.handle}.new"})
    await session.execute(
        "blockdev-create",
        {"job-id": f"{want.handle}.qcow2", "options": {"driver": "qcow2", "file": f"{want.handle}.new", "size": MIB}},
    )
    await rig.driver.stop()
    successor = rig.new_driver()
    await successor.start(rig.lost.append)
    try:
        assert (await successor.look()).volumes == {}
        assert not half.exists()
        await successor.create(want, None)
        await successor.open(want, None)
        assert (await successor.look()).volumes[want.handle].opened
    finally:
        await successor.stop()


async def test_a_size_that_no_file_has_is_refused_for_good_and_leaves_nothing(rig: RealTargetRig) -> None:
    want = volume(size_bytes=1 << 60)
    with pytest.raises(DpuError) as caught:
        await rig.driver.create(want, None)
    assert (caught.value.reason, caught.value.field) == (Reason.OUT_OF_RANGE, "size_bytes")
    assert not caught.value.retry
    assert (await rig.driver.look()).volumes == {}


async def test_a_restarted_daemon_sees_the_images_that_are_open(rig: RealTargetRig) -> None:
    image = rig.image(ImageFormat.QCOW2)
    named = replace(image, image_id="debian-12")
    await rig.driver.open_image(image)
    await rig.driver.open_image(named)
    await rig.driver.stop()
    successor = rig.new_driver()
    await successor.start(rig.lost.append)
    assert (await successor.look()).images == {image.image_id, "debian-12"}
    await successor.stop()


def _leading_elsewhere(rig: RealTargetRig, option: str) -> Path:
    secret = rig.directory / "secret.raw"
    secret.write_bytes(bytes(MIB))
    path = rig.images / "evil.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2"]
    if option == "backing":
        command += ["-b", str(secret), "-F", "raw", str(path)]
    else:
        command += ["-o", f"data_file={secret}", str(path), "1M"]
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize("option", ["backing", "data_file"])
async def test_an_image_that_leads_to_another_file_is_refused(rig: RealTargetRig, option: str) -> None:
    path = _leading_elsewhere(rig, option)
    image = Image(image_id="evil", source=path.name, format=ImageFormat.QCOW2, size_bytes=MIB)
    for call in (rig.driver.inspect_image(path.name, ImageFormat.QCOW2), rig.driver.open_image(image)):
        with pytest.raises(DpuError) as refused:
            await call
        assert refused.value.reason is Reason.INVALID


async def test_a_shredded_volume_leaves_nothing_of_its_content_on_the_medium(rig: RealTargetRig) -> None:
    want = replace(volume(generation=1), shred=True)
    await rig.driver.create(want, None)
    await rig.driver.open(want, None)
    address = await rig.driver.export(want, read_only=False)
    qemu_io(f"nbd://{address.host}:{address.port}/{address.export}", "write -P 0x5a 0 2M", "flush")
    path = rig.volumes / f"{want.handle}.qcow2"
    witness = rig.volumes / "witness"
    os.link(path, witness)  # the same blocks under another name, to look at after the unlink
    assert b"\x5a" * 4096 in witness.read_bytes()
    await rig.driver.delete(want)
    assert not path.exists()
    assert set(witness.read_bytes()) == {0}


async def test_exports_of_several_generations_never_stand_side_by_side(rig: RealTargetRig) -> None:
    want = volume()
    await rig.driver.create(want, None)
    await rig.driver.open(want, None)
    for generation, read_only in ((1, False), (2, True), (3, False)):
        await rig.driver.export(replace(want, export=Export(generation=generation, dpu="d")), read_only=read_only)
        exports = await rig.driver._session.execute("query-block-exports")
        assert len(exports) == 1
        assert (await rig.driver.look()).volumes[want.handle].export_read_only is read_only
