"""Random histories of OPI calls: created, changed, deleted, killed and restarted in any order, and always in order.

Calls come in any sequence, most of them impossible when they come. After each, every reference leads somewhere, no
volume has two users, and the block layer has what the journal knows; a refused call has changed nothing.
"""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.opi.objects import OpiObjects
from dpu_daemon.model.opi import (
    Cipher,
    Controller,
    EncryptedVolume,
    Limits,
    Multipath,
    Namespace,
    NullVolume,
    OpiKind,
    PciFunction,
    QosVolume,
    RemoteController,
    Subsystem,
    Transport,
    VirtioBlk,
)
from dpu_daemon.service.opi.paging import page_of
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.opi_client import KEY, TARGET
from tests.fakes.opi_daemon import OpiWorld, open_engine
from tests.fakes.opi_life import (
    Call,
    check_nothing_leaked,
    check_references,
    check_settled,
    create,
    delete,
    path,
    update,
)

EXPECTED = {
    Reason.NOT_FOUND,
    Reason.IN_USE,
    Reason.ALREADY_EXISTS,
    Reason.INVALID,
    Reason.EXHAUSTED,
    Reason.WRONG_STATE,
    Reason.UNAVAILABLE,
}
"""The last one for a remote namespace whose controller has no path now."""
REMOTE = "nvmeRemoteControllers/c0"


def _volume(rng: random.Random) -> str:
    few = rng.randrange(3)
    return rng.choice(
        [f"nullVolumes/n{few}", f"qosVolumes/q{few}", f"encryptedVolumes/e{few}", f"{REMOTE}/nvmeRemoteNamespaces/n1"]
    )


def _function(rng: random.Random) -> PciFunction:
    return PciFunction(port_id=0, physical_function=rng.randrange(4), virtual_function=0)


def _base(rng: random.Random, few: int) -> Call:
    if rng.random() < 0.5:
        spec = NullVolume(block_size=512, blocks_count=2048 * (1 + rng.randrange(2)))
        return create(OpiKind.NULL_VOLUME, f"nullVolumes/n{few}", spec)
    if rng.random() < 0.5:
        return create(OpiKind.REMOTE_CONTROLLER, REMOTE, RemoteController(multipath=Multipath.MULTIPATH))
    return create(OpiKind.PATH, f"{REMOTE}/nvmePaths/p{few}", path(4420 + few))


def _layer(rng: random.Random, few: int) -> Call:
    if rng.random() < 0.5:
        qos = QosVolume(volume_name_ref=_volume(rng), limits=Limits(rw_iops_kiops=1 + rng.randrange(2)))
        return create(OpiKind.QOS_VOLUME, f"qosVolumes/q{few}", qos)
    encrypted = EncryptedVolume(volume_name_ref=_volume(rng), cipher=Cipher.AES_XTS_128)
    return create(OpiKind.ENCRYPTED_VOLUME, f"encryptedVolumes/e{few}", encrypted, KEY)


def _front(rng: random.Random, few: int) -> Call:
    subsystem = f"nvmeSubsystems/s{rng.randrange(2)}"
    match rng.randrange(4):
        case 0:
            return create(OpiKind.SUBSYSTEM, subsystem, Subsystem(nqn=f"nqn.2026-01.io.example:{subsystem[-1]}"))
        case 1:
            space = Namespace(volume_name_ref=_volume(rng))
            return create(OpiKind.NAMESPACE, f"{subsystem}/nvmeNamespaces/x{few}", space)
        case 2:
            controller = Controller(trtype=Transport.PCIE, pcie_id=_function(rng))
            return create(OpiKind.CONTROLLER, f"{subsystem}/nvmeControllers/c{few}", controller)
        case _:
            disk = VirtioBlk(pcie_id=_function(rng), volume_name_ref=_volume(rng))
            return create(OpiKind.VIRTIO_BLK, f"virtioBlks/v{few}", disk)


def _creation(rng: random.Random) -> Call:
    return rng.choice((_base, _layer, _front, _front))(rng, rng.randrange(3))


def _call(rng: random.Random, objects: OpiObjects) -> Call:
    names = sorted(objects.ledger.opi)
    if names and rng.random() < 0.35:
        return delete(rng.choice(names))
    if rng.random() < 0.15:
        spec = NullVolume(block_size=512, blocks_count=2048 * (1 + rng.randrange(3)))
        return update(OpiKind.NULL_VOLUME, f"nullVolumes/n{rng.randrange(3)}", spec)
    return _creation(rng)


async def _step(rng: random.Random, objects: OpiObjects) -> None:
    before = dict(objects.ledger.opi)
    refusal: DpuError | None = None
    try:
        await _call(rng, objects)(objects)
    except DpuError as error:
        refusal = error
    if refusal is not None:
        assert refusal.reason in EXPECTED, refusal
        assert dict(objects.ledger.opi) == before, refusal


def _check_pages(objects: OpiObjects, size: int) -> None:
    listed: list[str] = []
    token = ""
    while True:
        members = objects.members(OpiKind.NULL_VOLUME, "")
        page, token = page_of(members, lambda record: record.name, "nullVolumes of ", size, token)
        listed += [record.name for record in page]
        if not token:
            break
    assert listed == sorted(listed) == [name for name in sorted(objects.ledger.opi) if name.startswith("nullV")]


async def _restarted(engine: DpuEngine, file: Path, around: OpiWorld) -> tuple[DpuEngine, OpiObjects]:
    before = dict(engine.core.ledger.opi)
    await engine.core.stop(1.0)
    engine, objects = await open_engine(file, around)
    assert dict(engine.core.ledger.opi) == before
    return engine, objects


@pytest.mark.timeout(900)
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@example(seed=1752)  # limits on a volume that encryption is the first to use
@given(seed=st.integers(min_value=0, max_value=1 << 32))
async def test_whatever_the_order_of_calls_the_block_layer_has_what_the_journal_wants(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = random.Random(seed)
    file = tmp_path_factory.mktemp("history") / "dpu.db"
    around = OpiWorld()
    around.state.targets[TARGET] = {1: 4096}
    engine, objects = await open_engine(file, around)
    for _ in range(40):
        await _step(rng, objects)
        check_references(objects.ledger)
        check_nothing_leaked(objects.ledger, around)
        _check_pages(objects, 1 + rng.randrange(3))
        if rng.random() < 0.05:
            objects.driver.restart()  # type: ignore[attr-defined]
            await engine.core.audit.once()
        if rng.random() < 0.05:
            engine, objects = await _restarted(engine, file, around)
        await check_settled(objects)
    await engine.core.stop(1.0)
