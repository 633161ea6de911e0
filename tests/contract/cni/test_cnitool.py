"""The CNI project's own library calls our executable: ADD, CHECK, STATUS, GC and DEL, as Go runtimes do."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from lab import cnitool
from tests.contract.cni.behind_dpu import behind_dpu
from tests.contract.cni.node import CniNodeRig, assigned, cni_node, pod_args

pytestmark = pytest.mark.skipif(cnitool.find() is None, reason="needs cnitool, and Go to build it (make deps)")
CAPABILITIES = {"bandwidth": True, "ips": True, "mac": True, "deviceID": True}


async def called(node: CniNodeRig, verb: str, container: str, version: str, capable: str = "{}") -> tuple[int, str]:
    """Exit status and what was printed, errors too."""
    folder = node.folder / "net.d"
    folder.mkdir(exist_ok=True)
    plugin = {"type": node.executable.name, "capabilities": CAPABILITIES}
    (folder / "10-dpupool.conflist").write_text(
        json.dumps({"cniVersion": version, "name": f"dpupool-{os.getpid()}", "plugins": [plugin]})
    )
    process = await asyncio.create_subprocess_exec(
        str(cnitool.find()),
        verb,
        f"dpupool-{os.getpid()}",
        f"/run/netns/{container}",
        env={
            "NETCONFPATH": str(folder),
            "CNI_PATH": str(node.executable.parent),
            "CNI_ARGS": pod_args("web"),
            "CAP_ARGS": capable,
            "DPUPOOL_CNI_SOCKET": str(node.socket),
            "PATH": "/usr/bin:/bin",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


async def succeeds(node: CniNodeRig, verb: str, container: str, version: str, capable: str = "{}") -> dict[str, Any]:
    status, printed = await called(node, verb, container, version, capable)
    assert status == 0, f"{verb}: {printed}"
    result: dict[str, Any] = json.loads(printed) if printed.strip().startswith("{") else {}
    return result


async def whole_life(node: CniNodeRig, version: str, capable: str = "{}") -> None:
    """ADD, CHECK, what the version has besides, DEL twice; in the end all is as it was."""
    await node.assign(assigned("web"))
    container = node.container()
    clean = node.state(container)["ports"]
    result = await succeeds(node, "add", container, version, capable)
    assert [entry["address"] for entry in result["ips"]] == ["10.16.0.5/16", "fd00:10::5/64"]
    assert result["interfaces"][-1]["sandbox"] == f"/run/netns/{container}"
    await succeeds(node, "check", container, version, capable)
    if version == "1.1.0":
        await succeeds(node, "status", container, version)
        await succeeds(node, "gc", container, version)
    for _ in range(2):
        await succeeds(node, "del", container, version, capable)
    assert node.state(container)["ports"] == clean


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0", "1.1.0"])
async def test_a_go_runtime_is_served_in_mode_default(executable: Path, version: str) -> None:
    async with cni_node(executable) as node:
        await whole_life(node, version)


async def test_a_go_runtime_is_served_behind_a_dpu_with_capabilities(executable: Path) -> None:
    async with behind_dpu(executable) as node:
        wish = {"deviceID": "vf1", "mac": "0A:58:0A:10:00:05", "ips": ["10.16.0.5/16"]}
        await whole_life(node, "1.1.0", json.dumps(wish))


async def test_a_go_runtime_prints_our_error(executable: Path) -> None:
    async with cni_node(executable, wait_s=0.5) as node:
        status, printed = await called(node, "add", node.container(), "1.0.0")
        assert status != 0
        assert "default/web" in printed
        assert not (await node.ports())
