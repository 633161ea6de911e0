"""Settings: what is wrong is named by key and file."""

import os
from pathlib import Path

import pytest

from coordinator import config
from coordinator.clients.backends.settings import Csi, File, Lvol, NvmeOf, Rbd
from proto import supervision
from proto.errors import DpuError

GOOD = """
state = "/var/lib/x/state.db"
[api]
listen = ["fd:api", "127.0.0.1:6443"]
tls_cert = "a"
tls_key = "b"
[client]
ca = "c"
cert = "d"
key = "e"
[storage.file]
address = "10.0.0.1:7443"
[timing]
offline_after_s = 5
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "coordinator.toml"
    path.write_text(text)
    return path


def test_a_good_file_is_read(tmp_path: Path) -> None:
    found = config.load(written(tmp_path, GOOD))
    assert found.api.listen == ("fd:api", "127.0.0.1:6443")
    assert found.storage["file"] == File(address="10.0.0.1:7443")
    assert found.timing.offline_after_s == 5.0
    assert found.timing.boot_s == 900.0


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        (GOOD.replace('state = "/var/lib/x/state.db"', ""), "state", "state is missing"),
        (GOOD.replace('tls_key = "b"', ""), "api.tls_key", "api.tls_key is missing"),
        (GOOD.replace("offline_after_s = 5", 'offline_after_s = "x"'), "timing.offline_after_s", "Expected `float`"),
        (GOOD.replace("[timing]", "[timings]"), "", "timings"),
        (GOOD.replace('"10.0.0.1:7443"', "7443"), "storage[...].address", "Expected `str`"),
        (GOOD + '[storage.x]\ndriver = "tape"', "storage[...].driver", "Invalid value 'tape'"),
        (GOOD + '[storage.x]\ndriver = "rbd"\npool = "x"', "storage[...]", "`monitor`"),
        (GOOD.replace('key = "e"', ""), "client", "key"),
        (GOOD.replace("127.0.0.1:6443", "nowhere"), "api.listen", "'nowhere'"),
        ("state = ", "", "Invalid value"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, field: str, words: str) -> None:
    with pytest.raises(DpuError) as caught:
        config.load(written(tmp_path, text))
    assert caught.value.field == field
    assert words in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DpuError, match=r"none\.toml"):
        config.load(tmp_path / "none.toml")


def test_with_a_kubeconfig_nothing_of_the_embedded_server_is_needed(tmp_path: Path) -> None:
    assert config.load(written(tmp_path, '[api]\nkubeconfig = "/k"\n')).api.kubeconfig == "/k"


@pytest.mark.parametrize(
    ("text", "place"),
    [("fd:api", ("api", -1)), ("10.0.0.1:80", ("10.0.0.1", 80)), ("[::1]:443", ("::1", 443))],
)
def test_places_to_listen(text: str, place: tuple[str, int]) -> None:
    assert config.split_listen(text) == place


def test_a_socket_that_was_passed_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_FDNAMES", "other:api")
    assert supervision.inherited("api") == 4
    assert supervision.inherited("none") is None
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert supervision.inherited("whatever") == 3
    monkeypatch.setenv("LISTEN_PID", "1")
    assert supervision.inherited("api") is None


def test_the_watchdog_is_fed_three_times_as_often_as_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert supervision.watchdog_pause_s() == 10.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert supervision.watchdog_pause_s() is None


def test_each_backend_has_the_settings_of_its_driver(tmp_path: Path) -> None:
    text = """
[storage.fast]
driver = "lvol"
address = "10.0.0.2:7443"
tls = false
[storage.array]
driver = "nvmeof"
[[storage.array.namespaces]]
name = "disk-1"
address = "10.0.0.3:4420"
nqn = "nqn.x"
size = "1Gi"
[storage.ceph]
driver = "rbd"
pool = "volumes"
monitor = "10.0.0.4:6789"
[storage.san]
driver = "csi"
endpoint = "unix:///run/x/csi.sock"
address = {host = ["portals"]}
"""
    found = config.load(written(tmp_path, GOOD + text)).storage
    kinds = {name: type(settings) for name, settings in found.items()}
    assert kinds == {"file": File, "fast": Lvol, "array": NvmeOf, "ceph": Rbd, "san": Csi}
    assert isinstance(found["file"], File)
    assert found["file"].authenticate


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ('clusters = { default = "/x" }', "cpu.clusters"),
        ("poll_s = 0.0", "cpu.poll_s"),
        ("parallel_hosts = 0", "cpu.parallel_hosts"),
        ('listen = "127.0.0.1:1"', "cpu.client_ca"),
    ],
)
def test_wrong_settings_of_placement_are_named(tmp_path: Path, section: str, field: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f'state = "s"\n[api]\ntls_cert = "c"\ntls_key = "k"\n[cpu]\n{section}\n')
    with pytest.raises(DpuError) as caught:
        config.load(path)
    assert caught.value.field == field
