import re
import struct
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpu_daemon.drivers.qsd.header import NO_HEADER, read_header
from dpu_daemon.drivers.qsd.images import IMAGE_NODE, image_id_of, locate, node_name, virtual_size
from dpu_daemon.model.volume import ImageFormat
from proto.errors import DpuError
from proto.reasons import Reason

WELL_FORMED = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,30}")
IDS = st.uuids().map(str) | st.from_regex(r"[A-Za-z0-9._-]{1,29}", fullmatch=True)


@given(IDS)
def test_an_image_id_can_be_read_back_from_its_nodes_name(image_id: str) -> None:
    name = node_name(image_id)
    assert WELL_FORMED.fullmatch(name)
    assert IMAGE_NODE.fullmatch(name)
    assert image_id_of(name) == image_id


@given(st.text(min_size=30, max_size=80))
def test_any_other_id_has_a_well_formed_name_too(image_id: str) -> None:
    assert WELL_FORMED.fullmatch(node_name(image_id))


@given(IDS, IDS)
def test_two_images_never_share_a_name(one: str, other: str) -> None:
    assert (node_name(one) == node_name(other)) == (one == other)


def test_an_odd_spelling_of_a_uuid_is_an_id_of_its_own() -> None:
    text = str(uuid.UUID(int=0xABCDEF))
    assert node_name(text) != node_name(text.upper())


@pytest.mark.parametrize("source", ["", ".", "..", "../a.raw", "sub/a.raw", "/etc/shadow", ".hidden", "a\0b"])
def test_a_source_that_is_a_path_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(DpuError) as refused:
        locate(tmp_path, source)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "source")


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(512))
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.raw").symlink_to(secret)
    with pytest.raises(DpuError) as refused:
        locate(images, "a.raw")
    assert refused.value.reason is Reason.INVALID


def test_a_directory_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.raw").mkdir()
    with pytest.raises(DpuError):
        locate(tmp_path, "a.raw")


def _qcow2(*, version: int = 3, backing: int = 0, features: int = 0, encryption: int = 0) -> bytes:
    header = bytearray(104)
    header[:4] = b"QFI\xfb"
    struct.pack_into(">IQ", header, 4, version, backing)
    struct.pack_into(">QI", header, 24, 1 << 30, encryption)
    struct.pack_into(">Q", header, 72, features)
    return bytes(header)


def test_the_virtual_size_is_read_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    path.write_bytes(_qcow2())
    assert virtual_size(path, ImageFormat.QCOW2) == read_header(path).size_bytes == 1 << 30


@pytest.mark.parametrize(
    ("content", "image_format", "field"),
    [
        (_qcow2(backing=4096), ImageFormat.QCOW2, "source"),
        (_qcow2(features=4), ImageFormat.QCOW2, "source"),
        (_qcow2(encryption=2), ImageFormat.QCOW2, "source"),
        (_qcow2(version=1), ImageFormat.QCOW2, "source"),
        (_qcow2()[:50], ImageFormat.QCOW2, "source"),
        (_qcow2(), ImageFormat.RAW, "format"),
        (bytes(512), ImageFormat.QCOW2, "format"),
        (bytes(700), ImageFormat.RAW, "source"),
        (b"", ImageFormat.RAW, "source"),
    ],
    ids=["backing", "data-file", "encrypted", "version", "short", "not-raw", "not-qcow2", "odd", "empty"],
)
def test_a_file_that_is_not_what_it_should_be_is_refused(
    tmp_path: Path, content: bytes, image_format: ImageFormat, field: str
) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(DpuError) as refused:
        virtual_size(path, image_format)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, field)
    assert refused.value.remedy


def test_a_volume_that_cannot_be_read_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"QFI\xfb")
    assert read_header(tmp_path / "short") == read_header(tmp_path / "none") == NO_HEADER
