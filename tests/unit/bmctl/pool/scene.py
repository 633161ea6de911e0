"""A small cluster's dump, two pools, a trace of a day, and bmctl to look at them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from bmctl.main import bmctl
from tests.unit.coordinator.core.pool.objects import budget, node, pod

POOL = {"dpupool.io/pool": "standard"}
DUMP = [
    *({"kind": "Node", **node(f"std-{n}", "8", "32Gi", labels=POOL)} for n in range(4)),
    {"kind": "Node", **node("stray", "8", "32Gi")},
    *({"kind": "Pod", **pod(f"web-{n}", "1500m", "2Gi", on=f"std-{n % 2}")} for n in range(8)),
    {"kind": "Pod", **pod("db", "1", "1Gi", on="std-2", owner="")},
    {"kind": "Pod", **pod("pinned", "1", "1Gi", on="std-2", annotations={
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false"})},
    *({"kind": "Pod", **pod(f"big-{n}", "6", "20Gi")} for n in range(5)),
    {"kind": "Pod", **pod("huge", "60", "20Gi")},
    {"kind": "PodDisruptionBudget", **budget("web", 1, {"app": "nothing"})},
]  # fmt: skip
POOLS: list[dict[str, Any]] = [
    {"name": "standard", "cpu": 8, "memory": "32Gi", "maximum": 6, "members": POOL},
    {"name": "small", "cpu": 4, "memory": "16Gi", "maximum": 3},
]
PODS = "name,cpu_milli,memory_mib,num_gpu,creation_time,deletion_time"
MACHINES = "sn,cpu_milli,memory_mib,gpu,model"


@dataclass(frozen=True)
class Scene:
    """Files in a folder, and bmctl without any cluster."""

    folder: Path

    def path(self, name: str, content: Any) -> str:
        """A new file's path; anything but text is written as JSON or YAML."""
        path = self.folder / name
        if not isinstance(content, str):
            content = yaml.safe_dump(content) if name.endswith(".yaml") else json.dumps(content)
        path.write_text(content)
        return str(path)

    @property
    def dump(self) -> str:
        return self.path("dump.json", {"kind": "List", "items": DUMP})

    @property
    def pools(self) -> str:
        return self.path("pools.yaml", {"pools": POOLS})

    @property
    def pods(self) -> str:
        rows = [f"p{n},2000,4096,{n % 2},{n * 60},{n * 60 + 7200}" for n in range(20)]
        return self.path("pods.csv", "\n".join([PODS, *rows]) + "\n")

    @property
    def machines(self) -> str:
        rows = [f"m{n},{8000 if n < 3 else 16000},32768,{n // 3},V100" for n in range(6)]
        return self.path("machines.csv", "\n".join([MACHINES, *rows]) + "\n")

    def run(self, *arguments: str, stdin: str | None = None) -> Result:
        """`bmctl pool` with these arguments."""
        env = {"HOME": str(self.folder), "KUBECONFIG": str(self.folder / "none"), "NO_COLOR": "1"}
        return CliRunner().invoke(bmctl, ["pool", *arguments], input=stdin, env=env, catch_exceptions=False)

    def ok(self, *arguments: str, stdin: str | None = None) -> str:
        """What it prints when it succeeds."""
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, status: int, *arguments: str) -> str:
        """What it complains of when it ends with this exit status."""
        result = self.run(*arguments)
        assert result.exit_code == status, result.output
        return result.stderr
