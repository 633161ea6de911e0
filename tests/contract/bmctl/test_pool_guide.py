"""What docs/pool.md and its example say of `bmctl pool` is what it does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from bmctl.commands.pool import COMMANDS, pool
from coordinator.core.objects.pool import PoolOptions
from coordinator.core.pool.definitions import read_definitions
from coordinator.core.pool.model import GroupOptions
from coordinator.pool_settings import Down, Drain, Pools, Up
from tests.unit.bmctl.pool.scene import Scene

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "pool.md").read_text()
POOLS = ROOT / "docs" / "examples" / "pools.yaml"
TRACES = Path(os.environ.get("DPUPOOL_TRACES", ROOT.parent / "shared" / "data"))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def simulated(scene: Scene, *arguments: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(scene.ok("simulate", *arguments, "-o", "json"))
    return told


def test_the_guide_tells_of_every_command() -> None:
    assert set(re.findall(r"^\| `bmctl pool (\w+)", GUIDE, re.MULTILINE)) == set(COMMANDS)


def test_the_guide_explains_every_figure_and_column(scene: Scene) -> None:
    told = simulated(scene, "--pods", scene.pods, "--pools", str(POOLS))
    missing = [name for name in (*told, *told["samples"][0]) if not re.search(rf"\b{name}\b|`{name}`", GUIDE)]
    spoken = {"title", "settings", "samples", "started", "never_started", "machines_added", "machines_removed"}
    assert set(missing) <= spoken | {"pods_moved"}


def test_the_guide_explains_every_option_of_a_pool() -> None:
    assert all(f"`{name}`" in GUIDE for name in GroupOptions.__dataclass_fields__)


@pytest.mark.parametrize("table", [Pools, Up, Down, Drain])
def test_the_guide_explains_every_setting_of_the_loop(table: type[Any]) -> None:
    missing = [name for name in table.__struct_fields__ if f"`{name}`" not in GUIDE]
    assert set(missing) <= {"up", "down", "drain"}


def test_the_guide_names_the_options_that_a_pool_may_override() -> None:
    assert all(f"`{name}`" in GUIDE for name in PoolOptions.__struct_encode_fields__)


def test_the_guide_explains_every_option_of_simulate() -> None:
    command = pool.get_command(click.Context(pool), "simulate")
    assert command is not None
    options = {option for one in command.params for option in one.opts if option.startswith("--")}
    assert {option for option in options if option not in GUIDE} <= {"--output", "--seed"}


def test_the_example_defines_pools_and_serves_a_load(scene: Scene) -> None:
    groups = read_definitions(yaml.safe_load(POOLS.read_text())).groups
    assert {group.name for group in groups} == {"standard", "large", "accelerated"}
    assert simulated(scene, "--dump", scene.dump, "--pools", str(POOLS), "--repack")["never_started"] == 0


def test_only_the_pool_commands_load_the_decisions() -> None:
    modules = "bmctl.main, bmctl.commands.get, bmctl.commands.apply, bmctl.commands.pool"
    program = f"import {modules}, sys; print([name for name in sys.modules if name.partition('.')[0] == 'coordinator'])"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


@pytest.mark.skipif(not (TRACES / "openb_pod_list_default.csv").exists(), reason="no traces: set DPUPOOL_TRACES")
@pytest.mark.parametrize(
    ("cpu", "memory", "machines", "placed"),
    [(96, "393216Mi", 921, 8147), (104, "524288Mi", 828, 8147), (128, "786432Mi", 673, 8152)],
)
def test_a_real_trace_needs_the_machines_that_upstream_estimates(
    scene: Scene, cpu: int, memory: str, machines: int, placed: int
) -> None:
    pools = scene.path("openb.yaml", {"pools": [{"name": "a", "cpu": cpu, "memory": memory}]})
    trace = str(TRACES / "openb_pod_list_default.csv")
    told = simulated(scene, "--pods", trace, "--pools", pools, "--at-once", "--keep", "--trials", "0")
    assert told["machines_most"] <= machines
    assert told["started"] == placed
