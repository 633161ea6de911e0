"""The program: exit codes, what `check` finds, what goes to the log."""

import json
import socket
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner

from dpu_daemon.check import examine
from dpu_daemon.config import DpuConfig, StorageConfig, load
from dpu_daemon.engine.change import Change
from dpu_daemon.engine.journal import Journal
from dpu_daemon.main import EXIT_CONFIG, EXIT_CORRUPT, EXIT_MISSING, log_to_stderr, main
from dpu_daemon.parts.dpu import dpu_drivers
from dpu_daemon.parts.storage import target_driver
from lab.ca import Authority, Identity, Role
from proto.supervision import notify, watchdog_pause_s
from tests.unit.dpu_daemon.things import DISK


def _dpu(folder: Path, tls: str = "") -> Path:
    path = folder / "dpu.toml"
    listen = "127.0.0.1:1" if tls else f"unix:{folder}/d.sock"
    path.write_text(
        f"""
name = "dpu-1"
mode = "dpu"
journal = "{folder}/journal.db"
listen = "{listen}"
{tls}
[block]
qmp = "{folder}/qmp"
nbd_socket = "{folder}/nbd"
seed_dir = "{folder}/seeds"
[bus]
socket = "{folder}/pcie"
[switch]
ovsdb = "{folder}/db.sock"
uplink = "no-such-netdev"
""",
        encoding="utf-8",
    )
    return path


def _storage(folder: Path) -> Path:
    path = folder / "storage.toml"
    path.write_text(
        f"""
name = "st-1"
mode = "storage"
journal = "{folder}/journal.db"
listen = "unix:{folder}/d.sock"
[metrics]
listen = "127.0.0.1:1"
[block]
qmp = "{folder}/qmp"
nbd_listen = "127.0.0.1:10809"
volume_dir = "{folder}"
image_dir = "{folder}/images"
""",
        encoding="utf-8",
    )
    return path


def test_check_names_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["check", "--config", str(_dpu(tmp_path)), "-o", "json"])
    assert ran.exit_code == EXIT_MISSING
    missing = {found["subject"]: found["remedy"] for found in json.loads(ran.stdout) if not found["passed"]}
    assert set(missing) == {"block.qmp", "block.seed_dir", "bus.socket", "switch.ovsdb", "switch.uplink"}
    assert "qemu-system-common" in missing["block.qmp"]
    assert "apt-get install openvswitch-switch" in missing["switch.ovsdb"]
    assert missing["block.seed_dir"].startswith("mkdir -p")


def test_check_shows_a_table_to_people(tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["--config", str(_storage(tmp_path)), "check"])
    assert ran.exit_code == EXIT_MISSING
    assert "MISSING" in ran.stdout
    assert "block.qmp" in ran.stdout


def test_check_passes_when_everything_is_there(tmp_path: Path) -> None:
    path = _storage(tmp_path)
    (tmp_path / "images").mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "qmp"))
        listener.listen()
        config = load(path)
        wrong = [found for found in examine(config) if not found.passed]
    assert [found.subject for found in wrong] in ([], ["metrics.listen"]), "port 1 may need a right of its own"


def _listening(folder: Path, where: str) -> Path:
    path = _storage(folder)
    path.write_text(path.read_text(encoding="utf-8").replace('127.0.0.1:1"', f'{where}"'), encoding="utf-8")
    return path


def test_check_beside_the_running_daemon_finds_its_address_well(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        config = load(_listening(tmp_path, f"127.0.0.1:{listener.getsockname()[1]}"))
        taken = {found.subject: found for found in examine(config)}["metrics.listen"]
        journal = Journal(config.journal)
        try:
            own = {found.subject: found for found in examine(config)}["metrics.listen"]
        finally:
            journal.close()
    assert (taken.passed, taken.remedy) == (False, "stop what listens there, or choose another address")
    assert (own.passed, own.says.endswith("is held by the running daemon")) == (True, True)


def test_check_tells_of_an_address_that_is_not_here(tmp_path: Path) -> None:
    config = load(_listening(tmp_path, "192.0.2.1:7443"))
    found = {found.subject: found for found in examine(config)}["metrics.listen"]
    assert not found.passed
    assert "network namespace" in found.remedy


def test_check_looks_for_the_representors_that_devlink_should_tell(tmp_path: Path) -> None:
    text = _dpu(tmp_path).read_text(encoding="utf-8")
    path = tmp_path / "card.toml"
    path.write_text(text + '[network]\ndiscovery = "devlink"\n', encoding="utf-8")
    found = {each.subject: each for each in examine(load(path))}["network.discovery"]
    assert (found.passed, found.says) == (False, "representors (0): missing")
    assert "switchdev" in found.remedy
    assert "network.discovery" not in {each.subject for each in examine(load(_dpu(tmp_path)))}


def test_check_looks_at_certificates_and_their_keys(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.issue(Identity("dpu-1", Role.DPU, ("127.0.0.1",)))
    pair.key.chmod(0o644)
    tls = f'[tls]\nca = "{authority.ca_file}"\ncert = "{pair.certificate}"\nkey = "{pair.key}"\n'
    found = {each.subject: each for each in examine(load(_dpu(tmp_path, tls)))}
    assert "O=dpupool:dpu" in found["tls.cert"].says
    assert (found["tls.cert"].passed, found["tls.key"].passed) == (True, False)
    assert found["tls.key"].remedy == f"chmod 0600 {pair.key}"
    pair.certificate.write_text("no certificate", encoding="ascii")
    pair.key.unlink()
    found = {each.subject: each for each in examine(load(_dpu(tmp_path, tls)))}
    assert not found["tls.cert"].passed
    assert not found["tls.key"].passed


def test_check_looks_into_the_journal(tmp_path: Path) -> None:
    config = load(_dpu(tmp_path))
    journal = Journal(config.journal)
    journal.commit(Change(put=(DISK,)))
    assert any("in use by a running daemon" in found.says for found in examine(config))
    journal.close()
    assert any("is sound, 1 records" in found.says for found in examine(config))
    config.journal.write_bytes(b"rubbish" * 1000)
    found = [each for each in examine(config) if each.subject == "journal" and not each.passed]
    assert "backup" in found[0].remedy


def test_a_port_that_is_taken_is_said_to_be(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        path = _storage(tmp_path)
        text = path.read_text(encoding="utf-8").replace('127.0.0.1:1"', f'127.0.0.1:{taken.getsockname()[1]}"')
        path.write_text(text, encoding="utf-8")
        found = {each.subject: each for each in examine(load(path))}
    assert not found["metrics.listen"].passed


def test_settings_that_are_wrong_end_the_program_for_good(tmp_path: Path) -> None:
    path = tmp_path / "dpu.toml"
    path.write_text("mode = 'dpu'", encoding="utf-8")
    ran = CliRunner().invoke(main, ["--config", str(path)])
    assert ran.exit_code == EXIT_CONFIG
    assert str(path) in ran.stderr


def test_a_damaged_journal_ends_the_program_and_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = _dpu(tmp_path)
    load(path).journal.write_bytes(b"rubbish" * 1000)
    ran = CliRunner().invoke(main, ["--config", str(path)])
    assert ran.exit_code == EXIT_CORRUPT


@pytest.mark.parametrize("arguments", [[], ["check"]])
def test_without_settings_the_program_says_what_it_needs(arguments: list[str]) -> None:
    ran = CliRunner().invoke(main, arguments)
    assert ran.exit_code == 2
    assert "--config" in ran.stderr


def test_the_real_drivers_are_made_from_the_settings(tmp_path: Path) -> None:
    dpu, storage = load(_dpu(tmp_path)), load(_storage(tmp_path))
    assert isinstance(dpu, DpuConfig)
    assert isinstance(storage, StorageConfig)
    assert dpu_drivers(dpu).block.version() == target_driver(storage).version() == ""


def test_the_log_is_json_for_machines_and_text_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("json")
    structlog.get_logger("x").info("attached", id="att-1")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["id"], line["level"]) == ("attached", "att-1", "info")
    log_to_stderr("text")
    structlog.get_logger("y").info("attached", id="att-1")
    assert "id=att-1" in capsys.readouterr().err


def test_notices_go_to_whoever_started_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert notify("READY=1", "STATUS=x")
        assert listener.recv(100) == b"READY=1\nSTATUS=x"
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
        assert not notify("READY=1")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(f"\0dpupool-test-{tmp_path}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@dpupool-test-{tmp_path}")
        assert notify("READY=1")


@pytest.mark.parametrize(
    ("microseconds", "owner", "pause_s"),
    [("", "", None), ("0", "", None), ("30000000", "", 10.0), ("3000000", "1", None)],
)
def test_the_watchdog_is_fed_three_times_in_its_time(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, owner: str, pause_s: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", owner)
    assert watchdog_pause_s() == pause_s
