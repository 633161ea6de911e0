import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from bmctl.main import COMMANDS, bmctl
from tests.fakes.api import Pki
from tests.unit.bmctl.stage import Stage, a_stage


def test_a_server_that_is_away_is_exit_status_6_with_its_url(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        url = stage.api.url
    complaint = stage.fails(6, "get", "machines")
    assert url in complaint
    assert "remedy" in complaint


def test_a_server_with_a_strange_certificate_is_not_spoken_to(stage: Stage, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert stage.api.pki is not None
    stage.api.pki.ca_file.write_bytes(Pki.create(other).ca_file.read_bytes())
    assert "not trusted" in stage.fails(6, "get", "machines")


def test_a_client_certificate_is_enough(stage: Stage) -> None:
    assert stage.api.pki is not None
    certificate, key = stage.api.pki.issue("ada", ["system:masters"])
    credentials = {"client-certificate": str(certificate), "client-key": str(key)}
    stage.api.write_kubeconfig(stage.api.kubeconfig, credentials)
    stage.ok("create", "machine", "bm-01", "--image", "tiny")


def test_a_certificate_that_is_none_is_exit_status_8(stage: Stage, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("not PEM")
    stage.api.write_kubeconfig(stage.api.kubeconfig, {"client-certificate": str(broken), "client-key": str(broken)})
    with pytest.raises(ssl.SSLError):
        ssl.create_default_context().load_cert_chain(broken)
    assert "certificates of context test" in stage.fails(8, "get", "machines")


def test_a_wait_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        stage.machine()
        stage.status({"phase": "Booting"})
        away = stage.soon(lambda: stage.api.run(stage.api.server.close))
        result = stage.run("start", "bm-01", "--wait", "--timeout", "4")
        away.join()
    assert "waiting for the server" in result.stderr
    assert result.exit_code == 6


def test_version_tells_its_own_without_a_server(tmp_path: Path) -> None:
    result = CliRunner().invoke(bmctl, ["version"], env={"KUBECONFIG": str(tmp_path / "absent")})
    assert result.exit_code == 0
    assert "bmctl   0." in result.stdout
    assert "unknown" in result.stdout


def test_version_tells_the_servers(stage: Stage) -> None:
    assert stage.api.url in stage.ok("version")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_completion_script(shell: str) -> None:
    script = CliRunner().invoke(bmctl, ["completion", shell], prog_name="bmctl").stdout
    assert f"{shell}_complete" in script
    assert "bmctl" in script


def completed(env: Mapping[str, str], *words: str) -> list[str]:
    """What bash would offer for the last of these words."""
    env = {**env, "_BMCTL_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(("bmctl", *words))}
    env["COMP_CWORD"] = str(len(words))
    result = CliRunner().invoke(bmctl, [], env=env, prog_name="bmctl", complete_var="_BMCTL_COMPLETE")
    return [line.partition(",")[2] for line in result.stdout.splitlines() if line]


def test_commands_kinds_and_names_are_completed(stage: Stage) -> None:
    stage.machine("bm-01")
    stage.machine("bm-02")
    stage.machine("other")
    assert completed(stage.env, "des") == ["describe"]
    assert completed(stage.env, "get", "mach") == ["machines"]
    assert completed(stage.env, "get", "machines", "bm") == ["bm-01", "bm-02"]
    assert completed(stage.env, "stop", "o") == ["other"]


def test_completion_says_nothing_when_there_is_no_server(tmp_path: Path) -> None:
    assert completed({"KUBECONFIG": str(tmp_path / "absent")}, "stop", "bm") == []


def test_every_command_has_help_and_the_list_agrees(stage: Stage) -> None:
    listed = stage.ok("--help")
    for command in COMMANDS:
        assert command in listed
        if command != "lab":
            assert "Usage: bmctl" in stage.ok(command, "--help")


def test_the_list_of_commands_loads_no_http_client_and_no_lab() -> None:
    code = (
        "import sys; from bmctl.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('httpx', 'aiohttp', 'yaml', 'rich', 'lab', 'grpc')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0


def test_bmctl_uses_no_protobuf_and_no_code_of_the_daemons() -> None:
    assert foreign_modules("place.startswith('bmctl') and not place.startswith('bmctl.commands.resize')") == []


def test_resizing_uses_of_the_coordinator_its_pure_part_alone() -> None:
    loaded = foreign_modules("place.startswith('bmctl.commands.resize')")
    assert "coordinator.core.resize.pods" in loaded
    assert [module for module in loaded if not module.startswith("coordinator.core")] == ["coordinator"]


def foreign_modules(wanted: str) -> list[str]:
    """What is loaded of others' code when the commands for which `wanted` holds are."""
    code = (
        "import sys, importlib\n"
        "from bmctl.main import COMMANDS\n"
        "for place, _ in COMMANDS.values():\n"
        f"    ({wanted}) and importlib.import_module(place.partition(':')[0])\n"
        "others = ('google', 'grpc', 'coordinator', 'dpu_daemon', 'lab')\n"
        "print(*(m for m in sys.modules if m.split('.')[0] in others))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60, text=True)
    return done.stdout.split()
