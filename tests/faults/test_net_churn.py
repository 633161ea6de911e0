"""Hundreds of pods come and go on two nodes while everything that serves them is killed at random; nothing leaks."""

import asyncio
import itertools
import os
import random
import shutil
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from coordinator.core.objects.foreign import Foreign
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.netns import netns
from tests.faults.test_net_kills import Victim, deleted, victims
from tests.real.net_rig import NetRig, card, furnish, net_rig

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("containerd") or not shutil.which("ovn-northd"),
        reason="needs root, containerd and OVN (make deps)",
    ),
]
T = TypeVar("T")
PODS = int(os.environ.get("DPUPOOL_CHURN", "500"))
AT_ONCE = 6
KILL_EVERY_S = 2.0
"""Long enough for one daemon to come back: what never runs proves nothing."""
PATIENCE_S = 240.0


class Churn:
    """Pods, and who ends what serves them.

    Args:
        rig: two nodes.
        seed: of every choice; a failure names it.
    """

    def __init__(self, rig: NetRig, seed: int) -> None:
        self._rig, self._chance = rig, random.Random(seed)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self.kills = 0
        self.added = 0
        self.over = False

    async def one(self, number: int) -> None:
        async with self._turn:
            node = self._chance.choice(("node-1", "node-2"))
            name = f"c{number}"
            uid = await self._patiently(lambda: self._wish(name, node))
            with netns("pod") as there:
                container = await self._comes(node, name, uid, there)
                await asyncio.sleep(self._chance.random() * 0.5)
                if self._chance.random() < 0.7:
                    await deleted(self._rig, node, container, there, (name, uid))
            await deleted(self._rig, node, container, "", (name, uid))
            await self._patiently(lambda: self._rig.kube.delete(Foreign.POD, name, "default"))

    async def _comes(self, node: str, name: str, uid: str, there: str) -> str:
        said: object = None
        end_s = time.monotonic() + PATIENCE_S
        for attempt in itertools.takewhile(lambda _: time.monotonic() < end_s, itertools.count()):
            container = f"{name}-{attempt}"
            status, said = await self._rig.cni("ADD", node, container, there, (name, uid))
            if not status:
                self.added += 1
                return container
            await deleted(self._rig, node, container, there, (name, uid))
            await asyncio.sleep(0.3)
        raise AssertionError(f"{name} gets no network: {said}")

    async def _wish(self, name: str, node: str) -> str:
        """The pod's uid, also when the answer of the call that made it was lost."""
        try:
            return await self._rig.wish(name, node)
        except DpuError as error:
            if error.reason is not Reason.ALREADY_EXISTS:
                raise
            found = await self._rig.kube.get(Foreign.POD, name, "default")
            return str(found["metadata"]["uid"])

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        said = ""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            try:
                return await call()
            except DpuError as error:
                said = str(error)
            await asyncio.sleep(0.3)
        raise AssertionError(f"the API does not come back: {said}")

    async def killing(self) -> None:
        """Until it is over: somebody dies and comes back."""
        known = {one.name + where: one for where in ("dpu-1", "node-1", "node-2") for one in victims(self._rig, where)}
        pool = [*known.values(), self._program("coordinator"), *self._central()]
        while not self.over:
            await asyncio.sleep(KILL_EVERY_S)
            victim = self._chance.choice(pool)
            await asyncio.to_thread(victim.revive)
            self.kills += 1

    def _program(self, name: str) -> Victim:
        one = self._rig.daemons[name]

        def revive() -> None:
            one.kill()
            one.start()

        return Victim(name, lambda: one.process.pid if one.process else 0, revive)

    def _central(self) -> list[Victim]:
        central = self._rig.central

        def database(name: str) -> Victim:
            def revive() -> None:
                central.kill(name)
                central.start_database(name)

            return Victim(name, lambda: 0, revive)

        def northd() -> None:
            central.kill("northd")
            central.start_northd()

        return [database("nb"), database("sb"), Victim("northd", lambda: 0, northd)]

    async def healing(self) -> None:
        """A function that goes with a container's namespace comes back, as a card's does."""
        while not self.over:
            await asyncio.to_thread(card, self._rig.names["h1"], self._rig.names["dpu1"])
            await asyncio.sleep(0.3)


async def test_nothing_leaks_from_pods_that_come_and_go_while_everything_is_killed() -> None:
    seed = int(os.environ.get("DPUPOOL_SEED", random.randrange(1 << 30)))
    print(f"DPUPOOL_SEED={seed}")  # noqa: T201  (of a failure)
    async with net_rig(wait_s=10.0) as rig:
        await furnish(rig)
        churn = Churn(rig, seed)
        killing, healing = (asyncio.create_task(work) for work in (churn.killing(), churn.healing()))
        try:
            async with asyncio.TaskGroup() as pods:
                for number in range(PODS):
                    pods.create_task(churn.one(number))
            churn.over = True
            await asyncio.gather(killing, healing)  # who was killed last is there again
            assert churn.added == PODS
            await rig.is_clean(120.0)
        except BaseException:
            for name in rig.daemons:
                print(f"--- {name}", *rig.log(name).splitlines()[-40:], sep="\n")  # noqa: T201
            raise
        finally:
            churn.over = True
            ends = await asyncio.gather(killing, healing, return_exceptions=True)
            print(*(f"{end!r}" for end in ends if end))  # noqa: T201
        print(f"{PODS} pods, {churn.kills} kills")  # noqa: T201
