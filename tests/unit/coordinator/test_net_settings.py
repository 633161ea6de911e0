"""Settings of OVN."""

from pathlib import Path

import pytest

from coordinator.config import load, ovn_files
from coordinator.net_settings import Ovn, check_ovn
from proto.errors import DpuError
from proto.ovsdb.remotes import TlsFiles

BASE = 'state = "s"\n[api]\ntls_cert = "c"\ntls_key = "k"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "coordinator.toml"
    path.write_text(BASE + text)
    return path


def test_without_the_section_there_is_no_ovn(tmp_path: Path) -> None:
    found = load(written(tmp_path, ""))
    assert (found.ovn.northbound, ovn_files(found)) == ("", None)


def test_a_socket_needs_no_files(tmp_path: Path) -> None:
    found = load(written(tmp_path, '[ovn]\nnorthbound = "unix:/run/nb.sock"\nca = "x"\n'))
    assert ovn_files(found) is None


def test_files_of_the_client_serve_where_none_are_written(tmp_path: Path) -> None:
    text = '[client]\nca = "A"\ncert = "C"\nkey = "K"\n[ovn]\nnorthbound = "ssl:192.0.2.1:6641"\ncert = "mine"\n'
    found = load(written(tmp_path, text))
    assert ovn_files(found) == TlsFiles(ca=Path("A"), cert=Path("mine"), key=Path("K"))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('northbound = "nonsense"', "ovn.northbound"),
        ('northbound = "tcp:h:1,"', "ovn.northbound"),
        ('northbound = "ssl:h:1"', "ovn.ca"),
        ('northbound = "ssl:h:1"\nca = "x"\nkey = "y"', "ovn.cert"),
    ],
)
def test_what_is_wrong_is_named_by_key_and_file(tmp_path: Path, text: str, field: str) -> None:
    path = written(tmp_path, f"[ovn]\n{text}\n")
    with pytest.raises(DpuError, match=str(path)) as refused:
        load(path)
    assert refused.value.field == field


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DpuError, match="northbond"):
        load(written(tmp_path, '[ovn]\nnorthbond = "x"\n'))


def test_nothing_is_checked_where_nothing_is_asked() -> None:
    assert check_ovn(Ovn(ca="x"), None) is None
