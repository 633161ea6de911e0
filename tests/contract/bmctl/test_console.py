"""bmctl console, as a process, through the API server and bm-api to a BMC's WebSocket and back."""

import asyncio
import base64
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.bmctl.stage import Stage, a_stage
from tests.unit.coordinator.endpoints.fakes import FakeBmc, a_bmc

BMCTL = [sys.executable, "-m", "bmctl.main"]
DEADLINE_S = 30.0


@contextmanager
def running_bmc() -> Iterator[FakeBmc]:
    """A BMC in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def enter() -> FakeBmc:
        return await context.__aenter__()

    async def leave() -> None:
        await context.__aexit__(None, None, None)

    context = a_bmc()
    try:
        yield asyncio.run_coroutine_threadsafe(enter(), loop).result(DEADLINE_S)
    finally:
        asyncio.run_coroutine_threadsafe(leave(), loop).result(DEADLINE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_S)
        loop.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A machine on a host whose BMC answers."""
    with running_bmc() as bmc, a_stage(tmp_path) as found:
        credentials = {"username": base64.b64encode(b"root").decode(), "password": base64.b64encode(b"calvin").decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bmc"}, "data": credentials}
        found.ask("POST", "/api/v1/namespaces/default/secrets", secret)
        access = {"address": bmc.url, "credentialsSecretRef": {"namespace": "default", "name": "bmc"}}
        host = {
            "apiVersion": "dpupool.io/v1alpha1", "kind": "BareMetalHost", "metadata": {"name": "host-1"},
            "spec": {"dpuRef": {"name": "dpu-1"}, "bmc": access},
        }  # fmt: skip
        found.ask("POST", "/apis/dpupool.io/v1alpha1/baremetalhosts", host)
        found.machine()
        found.status({"phase": "Running", "hostRef": {"name": "host-1"}})
        yield found


def environment(stage: Stage) -> dict[str, str]:
    return {**os.environ, **stage.env}


def piped(stage: Stage, keys: bytes, *options: str) -> "subprocess.CompletedProcess[bytes]":
    command = [*BMCTL, "console", "bm-01", "--linger", "0.5", *options]
    env = environment(stage)
    return subprocess.run(command, input=keys, capture_output=True, env=env, timeout=DEADLINE_S, check=False)


class Terminal:
    """bmctl console on a terminal of its own."""

    def __init__(self, stage: Stage, *options: str) -> None:
        self.master, slave = pty.openpty()
        command = [*BMCTL, "console", "bm-01", *options]
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment(stage))
        os.close(slave)
        self._seen = b""

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def until(self, text: bytes) -> bytes:
        """What is on the screen once this text is; bmctl's end is the other way out."""
        while text not in self._seen:
            try:
                data = os.read(self.master, 1024)
            except OSError:
                data = b""
            assert data, self._seen
            self._seen += data
        return self._seen

    def end(self) -> int:
        """Its exit status."""
        status = self.process.wait(DEADLINE_S)
        os.close(self.master)
        return status


def test_piped_keys_reach_the_machine_and_its_answer_comes_back(stage: Stage) -> None:
    done = piped(stage, b"echo hello\r")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"login: ECHO HELLO\r"


def test_a_viewer_sees_and_sends_nothing(stage: Stage) -> None:
    assert piped(stage, b"rm -rf /\r", "--view").stdout == b"login: "


def test_a_terminal_is_left_with_tilde_dot_and_the_machine_does_not_notice(stage: Stage) -> None:
    terminal = Terminal(stage)
    terminal.until(b"login: ")
    terminal.type(b"root\r")
    terminal.until(b"ROOT\r")
    terminal.type(b"~.")
    assert b"~. or Ctrl-] leaves" in terminal.until(b"left")
    assert terminal.end() == 0


def test_control_c_goes_to_the_machine_and_control_bracket_leaves(stage: Stage) -> None:
    terminal = Terminal(stage)
    terminal.until(b"login: ")
    terminal.type(b"\x03x")
    terminal.until(b"\x03X")
    terminal.type(b"\x1d")
    terminal.until(b"left")
    assert terminal.end() == 0


def test_a_second_writer_is_refused_until_he_takes_over(stage: Stage) -> None:
    first = Terminal(stage)
    first.until(b"login: ")
    refused = piped(stage, b"x")
    assert refused.returncode == 4
    assert b"--takeover" in refused.stderr
    assert piped(stage, b"mine", "--takeover").stdout == b"login: MINE"
    first.type(b"\x1d")
    first.until(b"left")
    first.end()


def test_a_machine_that_goes_off_ends_the_console_with_the_bmcs_word(stage: Stage) -> None:
    terminal = Terminal(stage)
    terminal.until(b"login: ")
    terminal.type(b"power off")
    terminal.until(b"the console was closed: the BMC stops")
    assert terminal.end() == 0


@pytest.mark.parametrize(("token", "status"), [("viewer-token", 5), ("wrong", 5)])
def test_who_may_not_is_refused(stage: Stage, token: str, status: int) -> None:
    stage.api.write_kubeconfig(stage.api.kubeconfig, {"token": token})
    done = piped(stage, b"x")
    assert done.returncode == status
    assert b"remedy" in done.stderr


def test_a_machine_without_a_server_has_no_console(stage: Stage) -> None:
    stage.ok("create", "machine", "bm-02", "--image", "tiny")
    command = [*BMCTL, "console", "bm-02"]
    done = subprocess.run(command, input=b"", capture_output=True, env=environment(stage), timeout=30, check=False)
    assert done.returncode == 4
    assert b"no server yet" in done.stderr
