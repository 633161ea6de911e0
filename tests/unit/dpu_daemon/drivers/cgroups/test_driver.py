import asyncio
import json
from pathlib import Path

import pytest

from dpu_daemon.drivers.cgroups.driver import KernelGroups, kubelet_policy
from dpu_daemon.drivers.cgroups.tree import CgroupTree


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu memory\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        (json.dumps({"policyName": "static", "defaultCpuSet": "0-3"}), "static"),
        (json.dumps({"policyName": "none"}), "none"),
        ("{", ""),
        ("[]", ""),
    ],
)
def test_kubelets_policy_is_read_from_its_state(mount: Path, text: str, policy: str) -> None:
    state = mount / "cpu_manager_state"
    state.write_text(text)
    assert kubelet_policy(state) == policy
    warnings = KernelGroups(CgroupTree(mount), kubelet_state=state).warnings()
    assert any("set cpuManagerPolicy to none" in sentence for sentence in warnings) is (policy == "static")


async def test_groups_that_come_and_go_wake_the_audit_without_a_word(mount: Path) -> None:
    groups = KernelGroups(CgroupTree(mount, above="pods"))
    heard: asyncio.Queue[str] = asyncio.Queue()
    await groups.start(heard.put_nowait)
    await asyncio.sleep(0)
    (mount / "pods").mkdir()
    assert await asyncio.wait_for(heard.get(), 10) == "groups of pods are watched"
    for path in ("kubepods", "kubepods/burstable", "kubepods/burstable/poda", "kubepods/burstable/poda/c1"):
        (mount / "pods" / path).mkdir()
        assert await asyncio.wait_for(heard.get(), 10) == ""
    (mount / "pods/kubepods/burstable/poda/c1").rmdir()
    assert await asyncio.wait_for(heard.get(), 10) == ""
    await groups.stop()


async def test_a_directory_that_is_removed_is_watched_again_when_it_is_back(mount: Path) -> None:
    groups = KernelGroups(CgroupTree(mount, above="pods"))
    (mount / "pods").mkdir()
    heard: asyncio.Queue[str] = asyncio.Queue()
    await groups.start(heard.put_nowait)
    assert await asyncio.wait_for(heard.get(), 10) == "groups of pods are watched"
    (mount / "pods").rmdir()
    assert "not watched" in await asyncio.wait_for(heard.get(), 10)
    (mount / "pods").mkdir()
    assert await asyncio.wait_for(heard.get(), 10) == "groups of pods are watched"
    await groups.stop()
