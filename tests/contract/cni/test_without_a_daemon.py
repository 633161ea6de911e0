"""What a runtime reads when the daemon is away, silent or broken; and what needs no daemon."""

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cni_plugin.frame import CONFIG_MAX_BYTES, OUTPUT_MAX_BYTES
from tests.contract.cni.daemon import ANSWER, MAGIC, FakeDaemon, Said, answer, built, call_environment, listening, run

VERBS = {"ADD": 11, "DEL": 11, "CHECK": 11, "GC": 11, "STATUS": 50}


def error_of(said: Said) -> dict[str, Any]:
    """The error, after looking that it is the only thing said."""
    assert said.status == 1
    assert said.stderr == b""
    error: dict[str, Any] = json.loads(said.stdout)
    assert set(error) == {"cniVersion", "code", "msg", "details"}
    assert error["details"]
    return error


@pytest.mark.parametrize(("verb", "code"), VERBS.items())
async def test_a_daemon_that_is_away_is_named_with_its_socket(
    executable: Path, daemon: FakeDaemon, verb: str, code: int
) -> None:
    error = error_of(await run(executable, call_environment(verb, daemon.socket)))
    assert (error["code"], error["cniVersion"]) == (code, "1.0.0")
    assert str(daemon.socket) in error["msg"]
    assert "dpu-daemon" in error["details"]


async def test_a_socket_that_nobody_serves_any_more_is_a_daemon_away(executable: Path, daemon: FakeDaemon) -> None:
    async with listening(daemon):
        pass
    daemon.socket.unlink(missing_ok=True)
    daemon.socket.write_text("")
    error = error_of(await run(executable, call_environment("ADD", daemon.socket)))
    assert error["code"] == 11
    assert "Connection refused" in error["msg"]


@pytest.mark.parametrize(("verb", "code"), VERBS.items())
async def test_a_silent_daemon_is_left_at_the_deadline(
    executable: Path, daemon: FakeDaemon, verb: str, code: int
) -> None:
    environment = call_environment(verb, daemon.socket) | {"DPUPOOL_CNI_DEADLINE_S": "0.3"}
    async with listening(daemon, daemon.be_silent):
        error = error_of(await run(executable, environment))
    assert error["code"] == code
    assert error["msg"] == f"{verb} waited 0.3 s for the dpupool daemon at {daemon.socket}"


async def test_a_daemon_too_busy_to_accept_is_left_at_the_deadline(executable: Path, tmp_path: Path) -> None:
    path = tmp_path / "full.sock"
    with socket.socket(socket.AF_UNIX) as gate, socket.socket(socket.AF_UNIX) as waiting:
        gate.bind(str(path))
        gate.listen(0)
        waiting.connect(str(path))
        environment = call_environment("ADD", path) | {"DPUPOOL_CNI_DEADLINE_S": "0.3"}
        error = error_of(await run(executable, environment))
    assert error["code"] == 11
    assert "waited 0.3 s for the dpupool daemon" in error["msg"]


async def test_a_runtime_that_never_ends_the_configuration_is_not_waited_for(
    executable: Path, daemon: FakeDaemon
) -> None:
    environment = call_environment("STATUS", daemon.socket) | {"DPUPOOL_CNI_DEADLINE_S": "0.3"}
    error = error_of(await run(executable, environment, None))
    assert error["code"] == 50
    assert "standard input" in error["msg"]


@pytest.mark.parametrize(("verb", "code"), VERBS.items())
@pytest.mark.parametrize("sent", [b"", MAGIC, answer(b'{"a":1}')[:-1]], ids=["nothing", "half a head", "half a result"])
async def test_a_daemon_that_dies_during_the_call_may_be_asked_again(
    executable: Path, daemon: FakeDaemon, verb: str, code: int, sent: bytes
) -> None:
    daemon.answer = sent
    async with listening(daemon):
        error = error_of(await run(executable, call_environment(verb, daemon.socket)))
    assert error["code"] == code
    assert f"ended {verb} without an answer" in error["msg"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "begins with"),
        (ANSWER.pack(MAGIC, 256, 0), "256 is no exit status"),
        (ANSWER.pack(MAGIC, 0, OUTPUT_MAX_BYTES + 1), "are allowed"),
        (answer(b"{}") + b"\n", "1 bytes follow"),
        (answer(b"", 0), "no JSON object"),
        (answer(b"Traceback", 1), "no JSON object"),
        (answer(b"", 1), "no JSON object"),
    ],
)
async def test_an_answer_that_no_runtime_could_read_is_refused(
    executable: Path, daemon: FakeDaemon, sent: bytes, said: str
) -> None:
    daemon.answer = sent
    async with listening(daemon):
        error = error_of(await run(executable, call_environment("ADD", daemon.socket)))
    assert error["code"] == 114
    assert str(daemon.socket) in error["msg"]
    assert said in error["msg"]


async def test_a_configuration_without_end_is_refused_before_it_is_sent(executable: Path, daemon: FakeDaemon) -> None:
    config = b'{"cniVersion":"1.0.0"}'.ljust(CONFIG_MAX_BYTES + 1)
    async with listening(daemon):
        error = error_of(await run(executable, call_environment("ADD", daemon.socket), config))
    assert (error["code"], error["cniVersion"]) == (7, "1.0.0")
    assert daemon.calls == []


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A directory that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="dpu-cni-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_another_user_reads_that_the_socket_is_not_for_him(daemon: FakeDaemon, everybodys: Path) -> None:
    executable = await built(everybodys / "dpu-cni")
    daemon.socket = everybodys / "cni.sock"
    async with listening(daemon):
        daemon.socket.chmod(0o600)
        process = await asyncio.create_subprocess_exec(
            executable,
            env=call_environment("ADD", daemon.socket),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            user=65534,
        )
        stdout, stderr = await process.communicate()
    error = error_of(Said(process.returncode or 0, stdout, stderr))
    assert error["code"] == 106
    assert "user 65534" in error["msg"]
    assert "as root" in error["details"]


@pytest.mark.parametrize(
    ("config", "version"),
    [(b'{"cniVersion":"0.4.0"}', "0.4.0"), (b"", "1.1.0"), (b"[1]", "1.1.0"), (b"{", "1.1.0"), (None, "1.1.0")],
)
async def test_version_is_answered_whatever_comes_and_whoever_is_away(
    executable: Path, daemon: FakeDaemon, config: bytes | None, version: str
) -> None:
    environment = call_environment("VERSION", daemon.socket) | {"DPUPOOL_CNI_DEADLINE_S": "0.3"}
    said = await run(executable, environment, config)
    assert said.status == 0
    assert json.loads(said.stdout) == {"cniVersion": version, "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}


async def test_a_person_who_runs_it_reads_what_it_is(executable: Path) -> None:
    said = await run(executable, {})
    assert (said.status, said.stdout) == (0, b"")
    assert b"CNI_COMMAND" in said.stderr


@pytest.mark.parametrize("verb", ["", "add", "UPDATE", "ADD\n"])
async def test_an_unknown_verb_is_a_wrong_environment(executable: Path, daemon: FakeDaemon, verb: str) -> None:
    error = error_of(await run(executable, call_environment(verb, daemon.socket)))
    assert error["code"] == 4
    assert "CNI_COMMAND" in error["msg"]


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "inf"])
async def test_a_deadline_that_is_none_is_a_wrong_environment(
    executable: Path, daemon: FakeDaemon, seconds: str
) -> None:
    environment = call_environment("ADD", daemon.socket) | {"DPUPOOL_CNI_DEADLINE_S": seconds}
    error = error_of(await run(executable, environment))
    assert error["code"] == 4
    assert "DPUPOOL_CNI_DEADLINE_S" in error["msg"]
