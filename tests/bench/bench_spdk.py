"""The attacher on SPDK: one disk beside the bare calls, many at once, all again after a restart, and what it costs.

Run as ``python -m pytest tests/bench/bench_spdk.py -s``; prints figures, asserts nothing about time. The fake looks at
its socket every 4 ms, as SPDK does, takes 10 ms for a connect, and runs in a process of its own.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from rich.console import Console

from dpu_daemon.drivers.spdk.names import controller_name, front_nqn, remote_bdev
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.drivers.spdk.together import together
from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.main import log_to_stderr
from dpu_daemon.model.disk import Qos, TargetAddress
from tests.fakes.spdk_apart import SLOTS, SpdkApart
from tests.fakes.spdk_dpu import HOST_NQN, SpdkStage, asked

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

TICK_S, ATTACH_S = 0.004, 0.010
ROUNDS, BURST, REPLAYED = 40, 1300, 1000
SAY = Console(width=140)
LIMITS = Qos(iops=5000)


@pytest.fixture(autouse=True, scope="module")
def _logged_as_the_daemon_does() -> Iterator[None]:
    """The same lines, to nowhere."""
    before = structlog.get_config()
    with Path(os.devnull).open("w") as nowhere:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "stderr", nowhere)
            log_to_stderr("json")
        yield
        structlog.configure(**before)


@asynccontextmanager
async def _stages() -> AsyncIterator[tuple[Path, SpdkApart, SpdkStage]]:
    """A directory, SPDK in another process, and what makes engines on it."""
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        directory = Path(name)
        apart = SpdkApart(directory, tick_s=TICK_S, attach_s=ATTACH_S)
        await apart.start()
        try:
            yield directory, apart, SpdkStage(directory, slots=SLOTS)
        finally:
            await apart.stop()


def _ms(samples: list[float], share: float) -> float:
    return sorted(samples)[min(len(samples) - 1, int(share * len(samples)))] * 1000


async def test_one_attach_beside_the_calls_that_it_needs() -> None:
    async with _stages() as (directory, apart, stage):
        dpu = await stage.engine(Journal(directory / "j.db"))
        bare_rpc = SpdkRpc(str(directory / "d.sock"))
        await bare_rpc.start(lambda _: None)
        sources = await apart.serve([f"v{number}" for number in range(ROUNDS)])
        others = await apart.serve([f"b{number}" for number in range(ROUNDS)])
        ours, bare, looks, sent = [], [], [], []
        for number in range(ROUNDS):
            before = await apart.counts()
            begun = time.perf_counter()
            await dpu.disks.attach(asked(f"v{number}", sources[number], qos=LIMITS), Deadline.after(20))
            ours.append(time.perf_counter() - begun)
            after = await apart.counts()
            looks.append(after.looks - before.looks)
            sent.append(after.requests - before.requests)
            folder = directory / "vfu" / f"b{number}"
            await asyncio.to_thread(folder.mkdir, parents=True)
            begun = time.perf_counter()
            await _bare(bare_rpc, f"d{number:012x}", others[number], str(folder))
            bare.append(time.perf_counter() - begun)
        p50 = [statistics.median(samples) * 1000 for samples in (ours, bare)]
        SAY.print(f"attach p50 {p50[0]:.1f} ms, bare calls {p50[1]:.1f} ms: {p50[0] / p50[1]:.2f} x")
        SAY.print(f"per attach: {statistics.median(looks):g} round trips for {statistics.median(sent):g} calls")
        assert len(dpu.core.ledger.attachments) == ROUNDS
        await bare_rpc.stop()
        await stage.close(dpu)


async def _bare(rpc: SpdkRpc, handle: str, source: TargetAddress, folder: str) -> None:
    """The same calls in the same order, and the look that proves the result."""
    name, nqn = controller_name(handle, source.export), front_nqn(handle)
    top = remote_bdev(name, 1)
    where = {"trtype": "TCP", "traddr": source.host, "trsvcid": str(source.port), "subnqn": source.export}
    await together(
        rpc.call("bdev_nvme_attach_controller", {"name": name, "hostnqn": HOST_NQN, **where}),
        rpc.call("nvmf_create_subsystem", {"nqn": nqn, "serial_number": "S", "allow_any_host": True}),
    )
    at = {"trtype": "VFIOUSER", "traddr": folder}
    await together(
        rpc.call("nvmf_subsystem_add_ns", {"nqn": nqn, "namespace": {"nsid": 1, "bdev_name": top}}),
        rpc.call("bdev_set_qos_limit", {"name": top, "rw_ios_per_sec": 5000}),
        rpc.call("nvmf_subsystem_add_listener", {"nqn": nqn, "listen_address": at}),
    )
    await together(
        rpc.call("nvmf_get_subsystems", {"nqn": nqn}),
        rpc.call("bdev_get_bdevs", {"name": top}),
        rpc.call("bdev_nvme_get_controllers", {"name": name}),
    )


async def _burst(dpu: DpuEngine, sources: list[TargetAddress]) -> tuple[list[float], list[float]]:
    """Publishes all at once; halfway the first few are taken away again. Seconds of each."""
    begun = time.perf_counter()

    async def publish(number: int) -> float:
        await dpu.disks.attach(asked(f"v{number}", sources[number], qos=LIMITS), Deadline.after(300))
        return time.perf_counter() - begun

    async def unpublish(number: int) -> float:
        started = time.perf_counter()
        await dpu.disks.detach(f"att-v{number}", 1, Deadline.after(300), force=False)
        return time.perf_counter() - started

    publishing = [asyncio.ensure_future(publish(number)) for number in range(len(sources))]
    await asyncio.wait(publishing[:1])
    leaving = [await unpublish(number) for number in range(20) if await publishing[number] >= 0]
    return list(await asyncio.gather(*publishing)), leaving


async def test_many_publishes_at_once_do_not_starve_those_who_leave() -> None:
    async with _stages() as (directory, apart, stage):
        dpu = await stage.engine(Journal(directory / "j.db"))
        sources = await apart.serve([f"v{number}" for number in range(BURST)])
        busy = time.process_time()
        put_up, taken = await _burst(dpu, sources)
        busy = time.process_time() - busy
        SAY.print(
            f"{BURST} publishes at once: p50 {_ms(put_up, 0.5):.0f} ms, p99 {_ms(put_up, 0.99):.0f} ms, "
            f"longest {max(put_up) * 1000:.0f} ms; detach among them: p50 {_ms(taken, 0.5):.0f} ms, "
            f"longest {max(taken) * 1000:.0f} ms; {busy / BURST * 1000:.1f} ms of processor for each"
        )
        assert len(dpu.core.ledger.attachments) == BURST - len(taken)
        await stage.close(dpu)


async def test_all_disks_come_back_after_a_restart_of_spdk() -> None:
    async with _stages() as (directory, apart, stage):
        dpu = await stage.engine(Journal(directory / "j.db"), AuditTimes())
        sources = await apart.serve([f"v{number}" for number in range(REPLAYED)])
        await asyncio.gather(
            *[dpu.disks.attach(asked(f"v{n}", source), Deadline.after(300)) for n, source in enumerate(sources)]
        )
        auditing = asyncio.ensure_future(dpu.core.audit.run())
        await dpu.core.audit.converged.wait()
        before, busy = time.perf_counter(), time.process_time()
        await apart.restart()
        while (await apart.counts()).listening < REPLAYED:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        took, busy = time.perf_counter() - before, time.process_time() - busy
        SAY.print(f"{REPLAYED} disks are back {took:.2f} s after SPDK was killed ({busy:.2f} s of processor)")
        auditing.cancel()
        await asyncio.wait({auditing})
        await stage.close(dpu)
        await _cost(str(directory))


async def _cost(directory: str) -> None:
    """Memory and idle processor time of a whole daemon with all these disks."""
    daemon = _daemon(directory)
    try:
        await asyncio.sleep(8)
        assert daemon.poll() is None, await asyncio.to_thread(Path(directory, "daemon.log").read_text)
        before = _cpu_s(daemon.pid)
        await asyncio.sleep(30)
        idle = (_cpu_s(daemon.pid) - before) / 30
        SAY.print(f"a daemon with {REPLAYED} disks: {_rss_mib(daemon.pid):.0f} MiB, idle {idle * 100:.1f} % of a core")
    finally:
        daemon.terminate()
        await asyncio.to_thread(daemon.wait, 30)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def _daemon(directory: str) -> "subprocess.Popen[bytes]":
    """The program itself, on the journal that is there."""
    config = Path(directory, "dpu.toml")
    config.write_text(
        f"""
name = "dpu-1"
mode = "dpu"
journal = "{directory}/j.db"
listen = "unix:{directory}/daemon.sock"
[block]
driver = "spdk"
socket = "{directory}/d.sock"
seed_dir = "{directory}/seeds"
host_nqn = "{HOST_NQN}"
[bus]
driver = "vfio-user"
directory = "{directory}/vfu"
slots = 2048
[switch]
ovsdb = "{directory}/none.sock"
""",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "dpu_daemon.main", "--config", str(config)]
    with Path(directory, "daemon.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)
