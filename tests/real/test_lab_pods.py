"""Pods of the lab, as a newcomer starts them: two nodes, Geneve between them, and nothing left afterwards."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lab import namespace
from lab.cli import lab as command
from tests.real.running_lab import RunningLab, lab_name, running_lab

LAB = lab_name("p")
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("ovn-northd"), reason="needs root and OVN's packages (make deps)"
    ),
]


@pytest.fixture
def lab() -> Iterator[RunningLab]:
    with running_lab(LAB, pod_nodes=2) as made:
        yield made


def bmctl(*words: str) -> Result:
    return CliRunner().invoke(command, ["pod", words[0], "--name", LAB, *words[1:]])


def run(name: str, node: int) -> str:
    said = bmctl("run", "--node", str(node), "--label", f"app={name}", name)
    assert said.exit_code == 0, said.output
    return said.stdout.split()[1]


def pings(pod: str, address: str) -> bool:
    argv = ["ip", "netns", "exec", f"{LAB}-pod-{pod}", "ping", "-c1", "-W1", address]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def ports(lab: RunningLab) -> list[Any]:
    """Of pods; those of the nodes themselves stay."""
    return [one for one in lab.objects("Port") if one["metadata"]["namespace"] == "default"]


def until(true: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline


def test_pods_reach_each_other_and_survive_their_daemons(lab: RunningLab) -> None:
    web, db = run("web", 1), run("db", 2)
    until(lambda: pings("web", db))
    assert pings("db", web)
    for unit in ("daemon-node-1", "daemon-node-2", "coordinator"):
        os.kill(lab.pid(unit), signal.SIGKILL)
    assert pings("web", db)
    late = run("late", 1)
    until(lambda: pings("late", db))
    shown = bmctl("list").stdout
    assert [line.split("\t")[2] for line in sorted(shown.splitlines())] == [db, late, web]
    for pod in ("web", "db", "late"):
        said = bmctl("rm", pod)
        assert said.exit_code == 0, said.output
    assert not [name for name in namespace.of_lab(LAB) if "-pod-" in name]
    lab.wait(lambda: not ports(lab), lambda: ports(lab))


def test_a_pod_on_a_node_that_is_not_there_is_refused_by_the_options_name(lab: RunningLab) -> None:
    said = bmctl("run", "--node", "3", "x")
    assert said.exit_code != 0
    assert "--node" in str(said.exception)
    assert bmctl("exec", "nobody", "true").exit_code != 0
