"""Random histories of a host's functions: whatever comes when, no function is ever given twice, and none is lost."""

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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

FUNCTIONS = 3
ANYBODYS = "shop/any"
"""Pod of the containers that name no function."""


@dataclass
class Kernel:
    """Functions in memory: which are inside containers, whether the physical one is up."""

    inside: set[int] = field(default_factory=set)
    up: bool = True

    async def start(self, lost: Lost) -> None: ...

    async def stop(self) -> None: ...

    def version(self) -> str:
        return "memory"

    async def look(self) -> Mapping[int, VfSeen]:
        fault = "" if self.up else "physical function is down"
        return {
            vf: VfSeen(vf=vf, netdev="" if vf in self.inside else f"v{vf}", pci_address=address(vf), fault=fault)
            for vf in range(FUNCTIONS)
        }

    async def set_mac(self, vf: int, mac: str) -> None: ...


@dataclass
class Kubelet:
    """What it has given to which pod, what it believes to be healthy, and whether it answers."""

    pods: dict[str, list[str]] = field(default_factory=dict)
    lives: int = 0
    """Counts pods, so that one is not taken for an earlier one of its name."""
    healthy: set[str] = field(default_factory=set)
    away: bool = False

    async def owners(self) -> Mapping[str, str]:
        if self.away:
            raise DpuError(Reason.UNAVAILABLE, "kubelet does not answer")
        return {device_id: pod for pod, ids in self.pods.items() for device_id in ids}

    async def close(self) -> None: ...

    def free(self) -> list[str]:
        return sorted(self.healthy - {device_id for ids in self.pods.values() for device_id in ids})


@dataclass
class Notes:
    """Files in memory; they outlive the daemon."""

    ids: set[str] = field(default_factory=set)

    def put(self, function: VfSeen) -> None:
        self.ids.add(function.device_id)

    def drop(self, device_id: str) -> None:
        self.ids.discard(device_id)

    def device_ids(self) -> frozenset[str]:
        return frozenset(self.ids)


def check(truth: bool, otherwise: str) -> None:
    if not truth:
        raise AssertionError(otherwise)


def address(vf: int) -> str:
    return f"0000:03:00.{vf + 2}"


@dataclass(frozen=True)
class Step:
    """One thing that happens; `number` is a pod's or a container's."""

    what: str
    number: int = 0
    count: int = 1


NUMBERS = st.integers(0, 2)
STEPS = st.one_of(
    st.builds(Step, st.sampled_from(["admit", "run"]), NUMBERS, st.integers(1, 2)),
    st.builds(Step, st.sampled_from(["add", "add any"]), NUMBERS),
    st.builds(Step, st.sampled_from(["add", "add any", "delete", "delete any", "end"]), NUMBERS),
    st.builds(Step, st.sampled_from(["refresh", "refresh", "restart", "flap", "silence", "cut off"])),
    st.builds(Step, st.just("wait"), st.sampled_from([1, 20, 100, 700])),
)
"""The world is small, so that its parts meet often."""


class History:
    """A host through its life."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kernel, self.kubelet, self.notes = Kernel(), Kubelet(), Notes()
        self.uids: dict[str, str] = {}
        self.now = 1000.0
        self.ledger: Ledger | None = None

    async def open(self) -> None:
        if self.ledger is not None:
            await self.ledger.close()
        self.ledger = Ledger(Journal(self.folder / "journal.db"))
        await self.ledger.load()
        sources = VfSources(self.kernel, self.kubelet, self.notes)
        self.pool = VfPool(self.ledger, sources, lambda: self.now)
        self.pool.counts.recall()

    def boxes(self) -> list[Sandbox]:
        assert self.ledger is not None
        return list(self.ledger.sandboxes.values())

    async def take(self, step: Step) -> None:
        await {
            "admit": self.admit,
            "run": self.run,
            "add": self.add,
            "add any": self.add_any,
            "delete": self.delete,
            "delete any": self.delete_any,
            "end": self.end,
            "refresh": self.refresh,
            "restart": self.restart,
            "flap": self.flap,
            "silence": self.silence,
            "cut off": self.cut_off,
            "wait": self.wait,
        }[step.what](step)
        held = [box.vf for box in self.boxes()]
        assert len(held) == len(set(held)), f"a function was given twice: {self.boxes()}"

    async def admit(self, step: Step) -> None:
        pod, free = f"shop/{step.number}", self.kubelet.free()
        if pod in self.kubelet.pods or len(free) < step.count or self.kubelet.away:
            return
        chosen = self.pool.prefer(free, (), step.count)
        assert len(set(chosen)) == step.count
        try:
            await self.pool.give(chosen)
        except DpuError as error:
            check(error.reason is Reason.UNAVAILABLE, f"an allocation is refused for {error}")
        else:
            self.kubelet.pods[pod] = list(chosen)
            self.kubelet.lives += 1
            self.uids[pod] = str(self.kubelet.lives)

    async def run(self, step: Step) -> None:
        """The pod of this number ends, and the next comes before the first one's network is gone."""
        await self.end(step)
        following = replace(step, number=(step.number + 1) % 3)
        await self.admit(following)
        await self.add(following)

    async def add(self, step: Step) -> None:
        """All functions of a pod that kubelet admitted; only its fault or a pod that ended may be in the way."""
        pod = f"shop/{step.number}"
        for number, device_id in enumerate(self.kubelet.pods.get(pod, ())):
            holder = Holder(f"c{step.number}-{self.uids[pod]}", f"net{number}")
            if any(box.holder == holder for box in self.boxes()):
                continue
            try:
                await self.choose(holder, pod, device_id)
            except DpuError as error:
                down = error.reason is Reason.UNAVAILABLE and not self.kernel.up
                others = [box for box in self.boxes() if address(box.vf) == device_id]
                ended = all(self.has_ended(box) for box in others)
                check(down or (error.reason is Reason.IN_USE and ended), f"what kubelet gave is refused: {error}")

    def has_ended(self, box: Sandbox) -> bool:
        """Whether it is of a pod that kubelet counts no more; its DEL is still to come."""
        if box.pod == ANYBODYS:
            return False
        return box.pod not in self.kubelet.pods or not box.container_id.endswith(f"-{self.uids[box.pod]}")

    async def add_any(self, step: Step) -> None:
        try:
            await self.choose(Holder(f"any{step.number}", "eth0"), ANYBODYS, "")
        except DpuError as error:
            check(error.reason is Reason.EXHAUSTED, f"a container that names none is refused for {error}")

    async def choose(self, holder: Holder, pod: str, asked: str) -> None:
        assert self.ledger is not None
        if any(box.holder == holder for box in self.boxes()):
            return
        await self.pool.look()
        async with self.ledger.allocation:
            function = self.pool.choose(asked, holder)
            box = Sandbox(
                container_id=holder.container_id, interface=holder.interface, netns="/n", network="n", pod=pod
            )
            await self.ledger.commit(Change(put=(replace(box, vf=function.vf, device_id=asked),)))
        self.kernel.inside.add(function.vf)

    async def delete(self, step: Step) -> None:
        await self.drop([box for box in self.boxes() if box.container_id.startswith(f"c{step.number}-")])

    async def delete_any(self, step: Step) -> None:
        await self.drop([box for box in self.boxes() if box.container_id == f"any{step.number}"])

    async def drop(self, boxes: list[Sandbox]) -> None:
        assert self.ledger is not None
        for box in boxes:
            self.kernel.inside.discard(box.vf)
            await self.ledger.commit(Change(drop=((RecordKind.SANDBOX, box.sandbox_id),)))

    async def end(self, step: Step) -> None:
        self.kubelet.pods.pop(f"shop/{step.number}", None)

    async def refresh(self, step: Step) -> None:
        await self.pool.refresh()
        self.kubelet.healthy = {device.device_id for device in self.pool.devices() if not device.fault}
        given = {device_id for ids in self.kubelet.pods.values() for device_id in ids}
        assert given <= self.pool.counts.counted()

    async def restart(self, step: Step) -> None:
        """kubelet takes all for unhealthy until the list comes again."""
        await self.open()
        self.kubelet.healthy = set()

    async def flap(self, step: Step) -> None:
        self.kernel.up = not self.kernel.up

    async def silence(self, step: Step) -> None:
        self.kubelet.away = not self.kubelet.away

    async def cut_off(self, step: Step) -> None:
        """The daemon starts while kubelet is away."""
        self.kubelet.away = True
        await self.restart(step)

    async def wait(self, step: Step) -> None:
        self.now += step.number

    async def finish(self) -> None:
        """All pods end, all containers go: every function is free again."""
        self.kubelet.pods.clear()
        self.kubelet.away, self.kernel.up = False, True
        await self.drop(self.boxes())
        self.now += 100.0
        await self.pool.refresh()
        assert self.pool.census() == {"held": 0, "fault": 0, "counted": 0, "free": FUNCTIONS}
        assert not self.notes.ids
        assert self.ledger is not None
        await self.ledger.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=20, max_size=80))
def test_no_function_is_given_twice_and_none_is_lost(steps: list[Step]) -> None:
    async def run(folder: Path) -> None:
        history = History(folder)
        await history.open()
        await history.refresh(Step("refresh"))
        for step in steps:
            await history.take(step)
        await history.finish()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
