"""What the guides say is what the programs take."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import coordinator.config
import dpu_daemon.config
from bmctl.exits import Exit
from bmctl.main import COMMANDS, bmctl

ROOT = Path(__file__).parents[3]
GUIDES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = re.findall(r"```toml\n# (\S+)\n(.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("name", "text"), SETTINGS, ids=[name for name, _ in SETTINGS])
def test_the_settings_of_the_operations_guide_are_taken(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    if name == "coordinator.toml":
        assert "file" in coordinator.config.load(path).storage
    else:
        assert dpu_daemon.config.load(path).mode.value == path.stem


def test_all_three_programs_have_their_settings_shown() -> None:
    assert {name for name, _ in SETTINGS} == {"coordinator.toml", "dpu.toml", "storage.toml"}


def test_the_settings_packaged_for_a_cluster_are_taken(tmp_path: Path) -> None:
    documents = yaml.safe_load_all((ROOT / "packaging" / "kubernetes" / "coordinator.yaml").read_text())
    data = next(one for one in documents if one["kind"] == "ConfigMap")["data"]
    path = tmp_path / "coordinator.toml"
    path.write_text(data["coordinator.toml"])
    assert coordinator.config.load(path).api.kubeconfig == "/etc/dpupool/kubeconfig"
    assert yaml.safe_load(data["kubeconfig"])["current-context"] == "cluster"


def test_the_guide_lists_every_exit_status() -> None:
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "bmctl.md").read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == [status.value for status in Exit]


def commands() -> list[str]:
    """Every bmctl command line that stands in a guide at the start of a line."""
    lines = [line.strip() for guide in GUIDES for line in guide.read_text().replace("\\\n", " ").splitlines()]
    shown = [line.partition(" #")[0].strip() for line in lines if line.startswith("bmctl ")]
    return sorted({line for line in shown if line.split()[1] in COMMANDS and "|" not in line})


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_guides_exists_with_its_options(line: str) -> None:
    words = shlex.split(line)[1:]
    result = CliRunner().invoke(bmctl, [*words, "--help"])
    assert result.exit_code == 0, result.output
    for option in [word for word in words if word.startswith("--")]:
        assert option in result.output


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_links_lead_somewhere(guide: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", guide.read_text()):
        assert (guide.parent / target).exists(), target
