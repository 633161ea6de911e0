"""What the engine believes of every SeedWriter, checked on the real one and on the fake."""

import io
import stat
import subprocess
from pathlib import Path

import pycdlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpu_daemon.drivers.seed import LONGEST_CONTENT_BYTES, IsoSeedWriter, iso_of
from dpu_daemon.engine.protocols import SeedWriter
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.drivers import FakeSeedWriter
from tests.fakes.world import World

FILES = {"meta-data": "instance-id: i-1\n", "user-data": "#!/bin/sh\necho hello\n", "network-config": "version: 2\n"}


@pytest.fixture(params=["real", "fake"])
def writer(request: pytest.FixtureRequest, tmp_path: Path) -> SeedWriter:
    return IsoSeedWriter(directory=str(tmp_path / "seeds")) if request.param == "real" else FakeSeedWriter(World())


def test_a_written_seed_is_listed_until_it_is_removed(writer: SeedWriter) -> None:
    assert writer.names() == frozenset()
    assert writer.write("bm-01-g1", FILES) == writer.write("bm-01-g1", FILES)
    assert writer.names() == {"bm-01-g1"}
    for _ in range(2):
        writer.remove("bm-01-g1")
    assert writer.names() == frozenset()


@pytest.mark.parametrize("name", ["", "../passwd", "a/b", ".hidden"])
def test_a_name_that_is_a_path_is_refused(writer: SeedWriter, name: str) -> None:
    with pytest.raises(DpuError) as refused:
        writer.write(name, FILES)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "name")


def test_too_much_content_is_refused_and_the_field_named(writer: SeedWriter) -> None:
    with pytest.raises(DpuError) as refused:
        writer.write("bm-01", {**FILES, "user-data": "x" * (LONGEST_CONTENT_BYTES + 1)})
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "files.user-data")
    assert writer.names() == frozenset()


@pytest.mark.parametrize("name", ["User-Data", "a/b", "", "x" * 61])
def test_a_file_name_that_a_reader_could_miss_is_refused(writer: SeedWriter, name: str) -> None:
    with pytest.raises(DpuError) as refused:
        writer.write("bm-01", {name: ""})
    assert refused.value.reason is Reason.INVALID


class TestIsoSeedWriter:
    """What only the real one does."""

    def test_the_disk_is_labelled_as_cloud_init_wants_it(self, tmp_path: Path) -> None:
        seed = IsoSeedWriter(directory=str(tmp_path)).write("bm-01", FILES)
        done = subprocess.run(["blkid", "-p", "-o", "export", seed.path], capture_output=True, text=True, check=True)
        assert "LABEL=cidata" in done.stdout
        assert "TYPE=iso9660" in done.stdout
        assert Path(seed.path).stat().st_size % 2048 == 0

    def test_its_secrets_are_for_root_alone_and_no_half_file_stays(self, tmp_path: Path) -> None:
        writer = IsoSeedWriter(directory=str(tmp_path / "seeds"))
        seed = Path(writer.write("bm-01", FILES).path)
        assert stat.S_IMODE(seed.stat().st_mode) == 0o600
        assert stat.S_IMODE(seed.parent.stat().st_mode) == 0o700
        assert [path.name for path in seed.parent.iterdir()] == ["bm-01.iso"]

    def test_new_content_replaces_the_file_and_leaves_open_readers_the_old_one(self, tmp_path: Path) -> None:
        writer = IsoSeedWriter(directory=str(tmp_path))
        with Path(writer.write("bm-01", FILES).path).open("rb") as old:
            writer.write("bm-01", {**FILES, "user-data": "other"})
            assert old.read() == iso_of(FILES)
        assert writer.names() == {"bm-01"}

    def test_a_directory_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(DpuError) as refused:
            IsoSeedWriter(directory=str(tmp_path / "file" / "seeds")).write("bm-01", FILES)
        assert refused.value.remedy


NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,30}", fullmatch=True)


@given(st.dictionaries(NAMES, st.text(max_size=5000), max_size=6))
def test_every_file_is_read_back_under_both_kinds_of_names(files: dict[str, str]) -> None:
    image = iso_of(files)
    assert image == iso_of(dict(reversed(files.items())))
    assert (
        _read(image, "joliet_path") == _read(image, "rr_path") == {name: text.encode() for name, text in files.items()}
    )


def _read(image: bytes, names: str) -> dict[str, bytes]:
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    found = {}
    for child in iso.list_children(**{names: "/"}):
        if child.is_dir():
            continue
        name = child.rock_ridge.name().decode() if names == "rr_path" else child.file_identifier().decode("utf-16-be")
        content = io.BytesIO()
        iso.get_file_from_iso_fp(content, **{names: f"/{name}"})
        found[name] = content.getvalue()
    iso.close()
    return found
