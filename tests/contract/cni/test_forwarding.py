"""A call reaches the daemon as it came, and the answer reaches the runtime as it was given."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.contract.cni.daemon import FakeDaemon, answer, call_environment, listening, run

RESULT = json.dumps({"cniVersion": "1.0.0", "interfaces": [{"name": "eth0"}]}).encode()


async def test_the_daemon_gets_the_environment_and_the_configuration_verbatim(
    executable: Path, daemon: FakeDaemon
) -> None:
    config = b'{"cniVersion":"1.0.0", "name":"pods",\n "type":"dpu-cni"}\n'
    environment = {**call_environment("ADD", daemon.socket), "TRACEPARENT": "00-1-2-01", "HOME": "/root"}
    daemon.answer = answer(RESULT)
    async with listening(daemon):
        said = await run(executable, environment, config)
    assert (said.status, said.stdout, said.stderr) == (0, RESULT, b"")
    (call,) = daemon.calls
    assert call.config == config
    expected = {name: value for name, value in environment.items() if name.startswith(("CNI_", "TRACE"))}
    assert call.environment == {name.encode(): value.encode() for name, value in expected.items()}


async def test_values_of_any_bytes_arrive_unchanged(executable: Path, daemon: FakeDaemon) -> None:
    raw = {name.encode(): value.encode() for name, value in call_environment("DEL", daemon.socket).items()}
    raw[b"CNI_ARGS"] = b"A=\xff\xfe=1;B=\n\r\nX: y"
    async with listening(daemon):
        assert (await run(executable, raw)).status == 0
    assert daemon.calls[0].environment[b"CNI_ARGS"] == raw[b"CNI_ARGS"]


async def test_the_daemon_has_less_time_than_the_plugin_waits(executable: Path, daemon: FakeDaemon) -> None:
    async with listening(daemon):
        await run(executable, call_environment("STATUS", daemon.socket))
        await run(executable, call_environment("ADD", daemon.socket) | {"DPUPOOL_CNI_DEADLINE_S": "1e9"})
    status, add = (call.left_ms for call in daemon.calls)
    assert 0 < status <= 3_500
    assert status < add <= 89_500


@pytest.mark.parametrize("verb", ["DEL", "CHECK", "GC", "STATUS"])
async def test_success_without_a_result_prints_nothing(executable: Path, daemon: FakeDaemon, verb: str) -> None:
    async with listening(daemon):
        said = await run(executable, call_environment(verb, daemon.socket))
    assert (said.status, said.stdout, said.stderr) == (0, b"", b"")


async def test_errors_of_the_daemon_are_printed_with_its_exit_status(executable: Path, daemon: FakeDaemon) -> None:
    error = b'{"cniVersion":"1.0.0","code":105,"msg":"not assigned","details":""}'
    daemon.answer = answer(error, 3)
    async with listening(daemon):
        said = await run(executable, call_environment("ADD", daemon.socket))
    assert (said.status, said.stdout, said.stderr) == (3, error, b"")


async def test_large_configurations_and_results_pass_whole(executable: Path, daemon: FakeDaemon) -> None:
    config = json.dumps({"cni.dev/valid-attachments": ["x" * 60] * 20_000}).encode()
    result = b'{"x": "' + b"y" * 1_500_000 + b'"}'
    daemon.answer = answer(result)
    async with listening(daemon):
        said = await run(executable, call_environment("GC", daemon.socket), config)
    assert said.stdout == result
    assert daemon.calls[0].config == config


async def test_the_end_of_the_plugin_ends_the_connection_and_nothing_else_does(
    executable: Path, daemon: FakeDaemon
) -> None:
    environment = call_environment("ADD", daemon.socket) | {"DPUPOOL_CNI_DEADLINE_S": "0.4"}
    async with listening(daemon, daemon.be_silent):
        said = await run(executable, environment)
        await daemon.gave_up.wait()
    assert said.status == 1
    assert len(daemon.calls) == 1


async def test_a_runtime_that_does_not_read_the_answer_does_not_hold_the_plugin(
    executable: Path, daemon: FakeDaemon
) -> None:
    daemon.answer = answer(b"{" + b" " * 1_000_000 + b"}")
    reading, writing = os.pipe()
    async with listening(daemon):
        process = await asyncio.create_subprocess_exec(
            executable,
            env=call_environment("ADD", daemon.socket),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
        )
        assert await process.wait() == -signal.SIGALRM
    os.close(reading)
    os.close(writing)
