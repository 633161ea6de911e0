"""Ceph: interrupted creates, what the trash keeps, who is cut off."""

import asyncio
from collections.abc import Callable

import pytest

from coordinator.clients.backends.ceph_cluster import CephCluster, CephError
from coordinator.clients.backends.ceph_pool import connector
from coordinator.clients.backends.rbd import DEEP, RbdBackend
from coordinator.clients.backends.settings import Rbd
from coordinator.clients.storage import ExportWish, SnapshotWish, VolumeWish
from coordinator.core.storage.source import Source, SourceKind
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.ceph import FakeCeph

MIB = 1 << 20
SETTINGS = Rbd(pool="rbd", monitor="192.0.2.3:6789", secret="dpupool-system/ceph")
CHANGES = {"create", "clone", "resize", "remove", "trash", "purge", "cut", "drop", "tell", "blocklist"}


class Dies(Exception):  # noqa: N818
    """The coordinator was killed."""


class Mortal:
    """A pool whose caller dies after so many changes."""

    def __init__(self, pool: FakeCeph, left: int) -> None:
        self._pool = pool
        self.left = left

    def __getattr__(self, name: str) -> object:
        found = getattr(self._pool, name)
        if name not in CHANGES:
            return found

        def call(*args: object) -> object:
            if self.left == 0:
                raise Dies(name)
            self.left -= 1
            return found(*args)

        return call


def backend(pool: CephCluster) -> RbdBackend:
    return RbdBackend("ceph", SETTINGS, lambda: pool)


def wish(name: str, *, of: Source | None = None, size_bytes: int = 64 * MIB) -> VolumeWish:
    return VolumeWish(volume_id=name, size_bytes=size_bytes, source=of)


def turn(name: str, generation: int, dpu: str = "dpu-1") -> ExportWish:
    return ExportWish(volume=name, dpu=dpu, generation=generation)


async def survives(begin: Callable[[], FakeCeph], do: Callable[[RbdBackend], object]) -> list[FakeCeph]:
    """The pools that come of killing `do` after each change and doing it again."""
    ends = []
    for left in range(100):
        pool = begin()
        mortal = Mortal(pool, left)
        try:
            await do(backend(mortal))  # type: ignore[arg-type,misc]
        except Dies:
            await do(backend(pool))  # type: ignore[misc]
            ends.append(pool)
        else:
            assert left > 2
            return [*ends, pool]
    raise AssertionError("it never ended")


def with_source() -> FakeCeph:
    pool = FakeCeph()
    asyncio.get_running_loop()
    pool.create("old", 64 * MIB)
    pool.tell("old", "dpupool.made", "1")
    return pool


async def test_a_clone_of_a_volume_survives_a_kill_after_each_change() -> None:
    source = Source(kind=SourceKind.VOLUME, handle="old")

    async def clone(ceph: RbdBackend) -> None:
        await ceph.create_volume(wish("new", of=source, size_bytes=128 * MIB))

    for pool in await survives(with_source, clone):
        found = pool.image("new")
        assert found is not None
        assert found.size_bytes == 128 * MIB
        assert pool.images["old"].seen.snapshots == {}
        await backend(pool).delete_volume("new", erase=False)
        await backend(pool).delete_volume("old", erase=False)
        assert (pool.images, pool.trashed) == ({}, {})


async def test_a_clone_that_is_given_up_halfway_leaves_nothing() -> None:
    source = Source(kind=SourceKind.VOLUME, handle="old")
    for left in range(6):
        pool = with_source()
        with pytest.raises(Dies):
            await backend(Mortal(pool, left)).create_volume(wish("new", of=source, size_bytes=128 * MIB))  # type: ignore[arg-type]
        await backend(pool).delete_volume("new", erase=False)
        assert list(pool.images) == ["old"]
        assert pool.images["old"].seen.snapshots == {}


async def test_a_volume_on_whose_snapshot_a_clone_stands_lies_in_the_trash_until_that_goes() -> None:
    pool = FakeCeph()
    ceph = backend(pool)
    await ceph.create_volume(wish("a"))
    (cut,) = await ceph.create_snapshots([SnapshotWish(snapshot_id="s", volume="a")])
    await ceph.create_volume(wish("b", of=Source(kind=SourceKind.SNAPSHOT, handle=cut.handle)))
    await ceph.delete_snapshot(cut.handle)
    await ceph.delete_volume("a", erase=False)
    assert list(pool.images) == ["b"]
    assert list(pool.trashed) == ["a"]
    await ceph.delete_volume("b", erase=False)
    assert (pool.images, pool.trashed) == ({}, {})


async def test_a_client_whose_turn_is_over_is_blocklisted_and_no_other() -> None:
    pool = FakeCeph()
    ceph = backend(pool)
    await ceph.create_volume(wish("a"))
    await ceph.export_volume(turn("a", 1))
    pool.open_by("a", "192.0.2.11:0/1")
    await ceph.export_volume(turn("a", 1))
    assert pool.blocklisted == []
    address = await ceph.export_volume(turn("a", 2, "dpu-2"))
    assert pool.blocklisted == ["192.0.2.11:0/1"]
    assert (address.transport, address.host, address.port, address.export) == ("rbd", "192.0.2.3", 6789, "rbd/a")
    pool.open_by("a", "192.0.2.12:0/2")
    await ceph.unexport_volume(turn("a", 1))
    assert pool.blocklisted == ["192.0.2.11:0/1"]
    await ceph.unexport_volume(turn("a", 2))
    assert pool.blocklisted[1:] == ["192.0.2.12:0/2"]
    await ceph.delete_volume("a", erase=False)


async def test_a_turn_that_a_kill_interrupts_is_taken_up_where_it_was() -> None:
    for left in range(3):
        pool = FakeCeph()
        await backend(pool).create_volume(wish("a"))
        await backend(pool).export_volume(turn("a", 1))
        pool.open_by("a", "192.0.2.11:0/1")
        with pytest.raises(Dies):
            await backend(Mortal(pool, left)).export_volume(turn("a", 2))  # type: ignore[arg-type]
        await backend(pool).export_volume(turn("a", 2))
        assert pool.blocklisted == ["192.0.2.11:0/1"]
        with pytest.raises(DpuError) as told:
            await backend(pool).export_volume(turn("a", 1))
        assert told.value.reason is Reason.STALE_GENERATION


async def test_deep_clones_are_flattened() -> None:
    pool = FakeCeph()
    ceph = backend(pool)
    await ceph.create_volume(wish("v0"))
    for depth in range(1, DEEP + 2):
        await ceph.create_volume(wish(f"v{depth}", of=Source(kind=SourceKind.VOLUME, handle=f"v{depth - 1}")))
    assert pool.flattened[0] == f"v{DEEP}"


async def test_a_cluster_that_does_not_answer_is_asked_again() -> None:
    pool = FakeCeph(reachable=False)
    with pytest.raises(DpuError) as told:
        await backend(pool).create_volume(wish("a"))
    assert (told.value.reason, told.value.retry) == (Reason.UNAVAILABLE, True)
    assert "see `ceph status`" in told.value.remedy


async def test_a_cluster_that_could_not_be_connected_is_connected_later() -> None:
    pool, tries = FakeCeph(), []

    def connect() -> CephCluster:
        tries.append(1)
        if len(tries) == 1:
            raise CephError("no monitor answers")
        return pool

    ceph = RbdBackend("ceph", SETTINGS, connect)
    with pytest.raises(DpuError):
        await ceph.capacity()
    assert (await ceph.capacity()).total_bytes == 1 << 40
    await ceph.capacity()
    assert len(tries) == 2


async def test_the_secret_of_the_clients_is_that_of_the_configuration() -> None:
    traits = await backend(FakeCeph()).traits()
    assert traits.secret is not None
    assert (traits.secret.namespace, traits.secret.name) == ("dpupool-system", "ceph")
    with pytest.raises(DpuError) as told:
        RbdBackend("ceph", Rbd(pool="rbd", monitor="x", secret="nowhere"), FakeCeph)
    assert told.value.remedy == "write NAMESPACE/NAME"


def test_without_the_packages_of_ceph_it_says_which() -> None:
    with pytest.raises(DpuError) as told:
        connector("ceph", SETTINGS)
    assert told.value.reason is Reason.UNSUPPORTED
    assert "install python3-rados and python3-rbd" in told.value.remedy
