"""The pool of functions where sockets and files do not matter."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.engine.vfs import VfPool, VfSources
from dpu_daemon.model.assignment import Holder, Sandbox
from dpu_daemon.model.vf import VfSeen
from proto.errors import DpuError
from proto.reasons import Reason


class Kernel:
    """Two functions; a look waits until it is let go."""

    def __init__(self) -> None:
        self.looks = 0
        self.go = asyncio.Event()
        self.go.set()
        self.gone = False
        self.inside: set[int] = set()
        self.macs: dict[int, str] = {}

    async def start(self, lost: Lost) -> None:
        lost("functions are watched")

    async def stop(self) -> None: ...

    def version(self) -> str:
        return "two"

    async def look(self) -> Mapping[int, VfSeen]:
        self.looks += 1
        await self.go.wait()
        if self.gone:
            raise DpuError(Reason.NOT_FOUND, "there is no physical function")
        return {vf: VfSeen(vf=vf, netdev="" if vf in self.inside else f"v{vf}") for vf in range(2)}

    async def set_mac(self, vf: int, mac: str) -> None:
        self.macs[vf] = mac


class Unwritable:
    """Files on a full disk."""

    def put(self, function: VfSeen) -> None:
        raise DpuError(Reason.UNAVAILABLE, f"{function.device_id} cannot be written")

    def drop(self, device_id: str) -> None: ...

    def device_ids(self) -> frozenset[str]:
        return frozenset()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger(Journal(tmp_path / "journal.db"))
    await ledger.load()
    yield ledger
    await ledger.close()


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
async def pool(ledger: Ledger, kernel: Kernel) -> VfPool:
    return VfPool(ledger, VfSources(kernel), asyncio.get_running_loop().time)


async def test_one_look_serves_all_who_asked_before_it_began(pool: VfPool, kernel: Kernel) -> None:
    kernel.go.clear()
    first = asyncio.create_task(pool.look())
    await asyncio.sleep(0)
    later = [asyncio.create_task(pool.look()) for _ in range(20)]
    await asyncio.sleep(0)
    kernel.go.set()
    await asyncio.gather(first, *later)
    assert kernel.looks == 2


async def test_a_physical_function_that_is_gone_is_each_functions_fault(pool: VfPool, kernel: Kernel) -> None:
    await pool.look()
    kernel.gone = True
    seen = await pool.look()
    assert {function.fault for function in seen.values()} == {"there is no physical function"}
    with pytest.raises(DpuError, match="no physical function"):
        pool.choose("vf0", Holder("c1", "eth0"))


async def test_a_function_whose_file_cannot_be_written_is_not_given(ledger: Ledger, kernel: Kernel) -> None:
    pool = VfPool(ledger, VfSources(kernel, notes=Unwritable()), asyncio.get_running_loop().time)
    with pytest.raises(DpuError, match="vf0 cannot be written"):
        await pool.give(["vf0"])
    assert pool.census() == {"held": 0, "fault": 0, "counted": 0, "free": 2}


def a_box(**more: Any) -> Sandbox:
    """A row of a container's."""
    return Sandbox(container_id="c1", interface="eth0", netns="/n", network="n", pod="shop/web", **more)


async def test_a_function_that_comes_home_meanwhile_is_given_to_the_next_pod(
    pool: VfPool, ledger: Ledger, kernel: Kernel
) -> None:
    old = a_box(vf=0, device_id="vf0")
    await ledger.commit(Change(put=(old,)))
    kernel.inside.add(0)
    async with ledger.allocation:
        giving = asyncio.create_task(pool.give(["vf0"]))
        await asyncio.wait({giving}, timeout=0.05)
        await ledger.commit(Change(drop=((RecordKind.SANDBOX, old.sandbox_id),)))
    assert [function.vf for function in await giving] == [0]
    kernel.inside.clear()
    await pool.look()
    assert not any(device.fault for device in pool.devices())


async def test_a_function_that_a_container_still_has_is_preferred_last(pool: VfPool, ledger: Ledger) -> None:
    await pool.look()
    assert pool.prefer(["vf0", "vf1"], [], 1) == ("vf0",)
    await ledger.commit(Change(put=(a_box(vf=0, device_id="vf0"),)))
    assert pool.prefer(["vf0", "vf1"], [], 1) == ("vf1",)
    assert pool.prefer(["vf0", "vf1"], [], 2) == ("vf1", "vf0")


async def test_what_is_being_journalled_for_a_container_is_not_given_to_kubelet(pool: VfPool, ledger: Ledger) -> None:
    await pool.look()
    async with ledger.allocation:
        chosen = pool.choose("", Holder("c1", "eth0"))
        giving = asyncio.create_task(pool.give([chosen.device_id]))
        await asyncio.wait({giving}, timeout=0.05)
        row = a_box(vf=chosen.vf)
        await ledger.commit(Change(put=(row,)))
    with pytest.raises(DpuError, match="held by shop/web"):
        await giving


async def test_faults_and_their_end_are_each_told_once(pool: VfPool, kernel: Kernel, ledger: Ledger) -> None:
    await pool.refresh()
    for gone in (True, True, False, False):
        kernel.gone = gone
        await pool.refresh()
    reasons = []
    async for event in ledger.events(0):
        reasons.append(event.reason)
        if event.sequence == ledger.last_event:
            break
    assert reasons == ["FunctionsAtFault", "FunctionsWell"]


async def test_the_pool_passes_on_what_is_its_drivers(pool: VfPool, kernel: Kernel) -> None:
    told: list[str] = []
    await pool.start(told.append)
    await pool.set_mac(1, "02:00:00:00:00:01")
    await pool.stop()
    assert (told, kernel.macs, pool.version()) == (["functions are watched"], {1: "02:00:00:00:00:01"}, "two")
