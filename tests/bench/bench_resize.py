"""How long it takes from a threshold that is crossed to the new limit in the kernel, through daemon and coordinator.

Run as ``python -m pytest tests/bench/bench_resize.py -s`` as root, with runc; prints, asserts nothing about time.
"""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from rich.console import Console

from coordinator.clients.host_sizes import GrpcHostSizes
from coordinator.clients.usage import GrpcUsage
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from tests.fakes.resizing import SizedSite, until
from tests.real.host_rig import Container, Groups, HostDaemon, Runc

pytestmark = [
    pytest.mark.bench,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("runc"), reason="needs root and runc (make deps)"),
]
PODS = 40
BEFORE_MILLI, AFTER_MILLI = 20, 40
WAITS = "trap 'while :; do :; done' USR1; while :; do sleep 0.2; done"
STAGGER_S = 0.37


class RealSite(SizedSite):
    """A site whose host is the daemon in a process; `channel` leads there."""

    channel: grpc.aio.Channel

    def host_sizes(self, name: str, address: str, server_name: str) -> Any:
        del address, server_name
        return GrpcHostSizes(name, self.channel)

    def usage(self, name: str, address: str, server_name: str) -> Any:
        del address, server_name
        return GrpcUsage(name, self.channel)


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def groups() -> Iterator[Groups]:
    made = Groups()
    try:
        yield made
    finally:
        made.remove("")


async def test_from_the_threshold_to_the_kernel(directory: Path, groups: Groups) -> None:
    runc, daemon = Runc(directory, groups), HostDaemon(directory, groups.above)
    try:
        with daemon.running():
            times_s = await _measured(runc, groups, daemon)
    finally:
        runc.close()
    ordered = sorted(times_s)
    assert len(ordered) == PODS
    p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    Console(width=160).print(
        f"{PODS} containers, threshold crossed -> limit in the group: p50 {p50:.2f} s  p99 {p99:.2f} s  "
        f"least {ordered[0]:.2f} s  most {ordered[-1]:.2f} s"
    )


async def _measured(runc: Runc, groups: Groups, daemon: HostDaemon) -> list[float]:
    site = RealSite()
    site.host("n1")
    await site.add_node("n1")
    rule = {"minimum": "10m", "maximum": f"{AFTER_MILLI}m"}
    spec = {"selector": {}, "cpu": rule}
    await site.api.create(Kind.RESIZE_POLICY, {"metadata": {"name": "grow", "namespace": "default"}, "spec": spec})
    containers = [await _started(site, runc, f"web{at}") for at in range(PODS)]
    async with grpc.aio.insecure_channel(daemon.address) as channel:
        site.channel = channel
        async with site.resizing() as resizes:
            await until(lambda: len(resizes.scaler.pods_of("default/grow")) == PODS)
            await until(lambda: resizes.usage.host("default/n1") is not None)
            await asyncio.sleep(3)
            busy = [_busy(groups, one, at * STAGGER_S) for at, one in enumerate(containers)]
            return list(await asyncio.gather(*busy))


async def _started(site: RealSite, runc: Runc, name: str) -> Container:
    uid = await site.pod(name)
    resources = {"limits": {"cpu": f"{BEFORE_MILLI}m", "memory": "64Mi"}, "requests": {"cpu": "10m"}}
    body = {"spec": {"nodeName": "n1", "containers": [{"name": "main", "resources": resources}]}}
    await site.api.patch(Foreign.POD, name, body, "default")
    status = {"phase": "Running", "qosClass": "Burstable"}
    await site.api.patch_status(Foreign.POD, name, {"status": status}, "default")  # type: ignore[arg-type]
    return await asyncio.to_thread(runc.run, uid, f"{name}-id", WAITS, cpu=BEFORE_MILLI, memory=64 << 20)


async def _busy(groups: Groups, one: Container, after_s: float) -> float:
    """Seconds from the signal that makes it busy to the limit in its group; then it is idle for good."""
    await asyncio.sleep(after_s)
    os.kill(one.pid, signal.SIGUSR1)
    began = time.monotonic()
    await until(lambda: _quota_us(groups, one) > BEFORE_MILLI * 100, 60)
    took = time.monotonic() - began
    os.kill(one.pid, signal.SIGSTOP)
    return took


def _quota_us(groups: Groups, one: Container) -> int:
    directory = groups.tree.directory(one.path, "cpu")
    old = directory / "cpu.cfs_quota_us"
    return int(old.read_text()) if old.exists() else int((directory / "cpu.max").read_text().split()[0])
