"""Random histories of storage: users, kills, lost answers, late calls. None harms the newer, and nothing leaks."""

import random

import pytest
from structlog.testing import capture_logs

from coordinator.core.objects.kinds import Kind
from tests.fakes.backend import FakeBackend
from tests.fakes.histories import Hand, Network
from tests.fakes.plant import MIB, Plant, phase

HISTORIES = 10_000
CHUNKS = 20
STEPS = 24
ROUNDS = 60

VOLUMES = ("a", "b")
SNAPSHOTS = ("s", "t")
ATTACHMENTS = ("x", "y")


class History:
    """One life of a small plant."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        own_ids = seed % 3 == 0
        self.plant = Plant(store=FakeBackend(files={"tiny.qcow2": 64 * MIB}, own_ids=own_ids))
        self.network = Network(self.dice)
        self.told: list[str] = []

    async def begin(self) -> None:
        for index in (1, 2):
            await self.plant.add_host(f"host-{index}", f"dpu-{index}")
            await self.plant.api.patch_status(Kind.DPU, f"dpu-{index}", {"status": {"phase": "Online"}})
        self.hand = Hand(self.plant, self.network)
        for name in VOLUMES:
            await self.plant.make(Kind.VOLUME, name, {"size": "64Mi"})
        await self.look()

    async def step(self) -> None:
        deeds = (
            self.create,
            self.create,
            self.remove,
            self.look,
            self.look,
            self.look,
            self.late,
            self.kill,
            self.away,
        )
        deed = self.dice.choice(deeds)
        await deed()
        self.check()

    async def create(self) -> None:
        kind = self.dice.choice((Kind.VOLUME, Kind.SNAPSHOT, *(Kind.ATTACHMENT,) * 4))
        pick = self.dice.choice
        if kind is Kind.VOLUME:
            name = pick(VOLUMES)
            source = pick(({}, {"snapshotRef": {"name": pick(SNAPSHOTS)}}, {"volumeRef": {"name": pick(VOLUMES)}}))
            spec = {"size": "64Mi", "source": source}
        elif kind is Kind.SNAPSHOT:
            name, spec = pick(SNAPSHOTS), {"volumeRef": {"name": pick(VOLUMES)}}
        else:
            name = pick(ATTACHMENTS)
            spec = {"volumeRef": {"name": pick(VOLUMES)}, "hostRef": {"name": pick(("host-1", "host-2"))}}
        if (kind, "default", name) not in self.plant.api.objects:
            self.told.append(f"create {kind.value} {name} {spec}")
            await self.plant.make(kind, name, spec)

    async def remove(self) -> None:
        keys = self.hand.objects()
        keys = [one for one in keys if one[0] is Kind.ATTACHMENT] * 6 + keys
        if keys:
            kind, key = self.dice.choice(keys)
            self.told.append(f"delete {kind.value} {key}")
            await self.plant.delete(kind, key.partition("/")[2])

    async def look(self) -> None:
        keys = self.hand.objects()
        some = self.dice.sample(keys, min(len(keys), self.dice.choice((1, 2, 9, 9))))
        self.told.append(f"look {some}")
        await self.hand.look(*some)

    async def late(self) -> None:
        self.told.append(f"late, {len(self.network.held)}")
        await self.network.deliver()

    async def kill(self) -> None:
        self.told.append("kill")
        self.hand = Hand(self.plant, self.network)

    async def away(self) -> None:
        """A DPU is lost, or comes back; what is on it may be detached by force meanwhile."""
        dpu = self.plant.dpus[self.dice.choice(("dpu-1", "dpu-2"))]
        dpu.reachable = not dpu.reachable
        name = next(one for one, found in self.plant.dpus.items() if found is dpu)
        status = {"status": {"phase": "Online" if dpu.reachable else "Offline"}}
        self.told.append(f"{name} {status}")
        await self.plant.api.patch_status(Kind.DPU, name, status)
        for (kind, _, attachment), found in list(self.plant.api.objects.items()):
            if kind is Kind.ATTACHMENT and "deletionTimestamp" in found["metadata"]:
                await self.plant.change(
                    kind, attachment, {"metadata": {"annotations": {"dpupool.io/force-detach": ""}}}
                )

    def check(self) -> None:
        """Whoever is attached has its volume, and nobody else does."""
        for (kind, _, name), found in self.plant.api.objects.items():
            if kind is not Kind.ATTACHMENT or phase(found) != "Attached" or "deletionTimestamp" in found["metadata"]:
                continue
            volume = self.plant.api.objects[(Kind.VOLUME, "default", found["spec"]["volumeRef"]["name"])]
            stored = self.plant.store.volumes[volume["status"]["handle"]]
            generation, dpu = found["status"]["generation"], found["status"]["dpu"]
            why = (name, self.told)
            assert volume["status"]["attachmentRef"]["uid"] == found["metadata"]["uid"], why
            assert (stored.generation, stored.exported_to) == (generation, dpu), why
            assert found["metadata"]["uid"] in self.plant.dpus[dpu].disks, why
        for handle, stored in self.plant.store.volumes.items():
            live = f"{handle}-{stored.generation}"
            users = [
                spec
                for dpu in self.plant.dpus.values()
                for spec, _ in dpu.disks.values()
                if spec.target.export == live and stored.exported_to
            ]
            assert len(users) <= 1, (handle, self.told)

    async def end(self) -> None:
        """The network is well again and everybody goes; calls that were given up come when they come."""
        self.network.ill = False
        for name, dpu in self.plant.dpus.items():
            dpu.reachable = True
            await self.plant.api.patch_status(Kind.DPU, name, {"status": {"phase": "Online"}})
        for kind, key in self.hand.objects():
            await self.plant.delete(kind, key.partition("/")[2])
        for _ in range(ROUNDS):
            await self.network.deliver()
            self.check()
            await self.hand.look(*self.hand.objects())
            if not self.hand.objects() and not self.network.held:
                break
        await self.hand.sweep()
        assert self.hand.objects() == [], self.told
        left = [one for one in self.plant.leaks() if "server" not in one]
        assert left == [], self.told


@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_no_history_harms_the_newer_publish_or_leaks(chunk: int) -> None:
    with capture_logs():
        for seed in range(chunk, HISTORIES, CHUNKS):
            history = History(seed)
            await history.begin()
            for _ in range(STEPS):
                await history.step()
            await history.end()
