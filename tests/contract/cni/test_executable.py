"""What the packages install is one file that starts fast and depends on nothing on the node."""

import asyncio
from pathlib import Path

from tests.contract.cni.daemon import FakeDaemon, call_environment, listening, run

BUILT_IN = {"_signal", "_socket", "posix", "sys", "marshal", "_frozen_importlib_external"}


def test_it_is_one_executable_file_under_an_isolated_interpreter(executable: Path) -> None:
    assert executable.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in executable.parent.iterdir()] == ["dpu-cni"]
    assert executable.read_text(encoding="utf-8").startswith("#!/usr/bin/python3 -ISE\n")


async def test_a_forwarded_call_imports_nothing_that_is_not_built_in(executable: Path, daemon: FakeDaemon) -> None:
    """The interpreter itself tells what it imported, and what it had imported before the program began."""
    environment = call_environment("STATUS", daemon.socket)
    before = await _imported("-c", "pass", env=environment)
    async with listening(daemon):
        during = await _imported(str(executable), env=environment)
    assert len(daemon.calls) == 1
    assert during - before <= BUILT_IN


async def test_nothing_in_the_environment_changes_what_runs(
    executable: Path, daemon: FakeDaemon, tmp_path: Path
) -> None:
    (tmp_path / "_socket.py").write_text("raise SystemExit(9)")
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    environment = call_environment("VERSION", daemon.socket) | {"PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere"}
    assert (await run(executable, environment)).status == 0


async def _imported(*arguments: str, env: dict[str, str]) -> set[str]:
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/python3",
        "-ISE",
        "-X",
        "importtime",
        *arguments,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode == 0
    return {line.rsplit("|", 1)[1].strip() for line in told.decode().splitlines() if line.startswith("import time:")}
