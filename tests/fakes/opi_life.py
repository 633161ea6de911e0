"""One life of OPI objects, and what has to hold at any moment of it."""

from collections.abc import Awaitable, Callable

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.opi.intents import AskedObject
from dpu_daemon.engine.opi.objects import OpiObjects
from dpu_daemon.model.opi import (
    AddressFamily,
    Cipher,
    Controller,
    EncryptedVolume,
    Endpoint,
    Limits,
    MallocVolume,
    Multipath,
    Namespace,
    NullVolume,
    OpiKind,
    OpiSpec,
    PciFunction,
    QosVolume,
    RemoteController,
    RemotePath,
    Subsystem,
    Transport,
    VirtioBlk,
)
from dpu_daemon.plan.opi import Wanted, plan_opi
from dpu_daemon.plan.opi_references import bdev_of, volume_of
from tests.fakes.opi import OpiState
from tests.fakes.opi_client import KEY, NQN, TARGET
from tests.fakes.opi_daemon import OpiWorld

Call = Callable[[OpiObjects], Awaitable[object]]
REMOTE = "nvmeRemoteControllers/c1"
SUBSYSTEM = "nvmeSubsystems/s1"


def soon() -> Deadline:
    """A deadline that no test reaches."""
    return Deadline.after(30)


def create(kind: OpiKind, name: str, spec: OpiSpec, secret: bytes = b"") -> Call:
    """A create call."""
    asked = AskedObject(name=name, kind=kind, spec=spec, secret=secret)
    return lambda objects: objects.create(asked, soon())


def update(kind: OpiKind, name: str, spec: OpiSpec) -> Call:
    """An update call."""
    asked = AskedObject(name=name, kind=kind, spec=spec)
    return lambda objects: objects.update(asked.name, lambda _: asked, soon())


def delete(name: str) -> Call:
    """A delete call."""
    return lambda objects: objects.delete(name, soon(), allow_missing=True)


def path(port: int) -> RemotePath:
    """A way to the target."""
    return RemotePath(trtype=Transport.TCP, traddr="127.0.0.1", trsvcid=port, subnqn=TARGET)


def life() -> list[Call]:
    """Every kind of object made, changed and taken away again."""
    slot = PciFunction(port_id=0, physical_function=3, virtual_function=0)
    fabrics = Endpoint(traddr="127.0.0.1", trsvcid="4421", adrfam=AddressFamily.IPV4)
    null = "nullVolumes/n1"
    return [
        create(OpiKind.NULL_VOLUME, null, NullVolume(block_size=512, blocks_count=2048)),
        create(OpiKind.MALLOC_VOLUME, "mallocVolumes/m1", MallocVolume(block_size=512, blocks_count=2048)),
        create(OpiKind.REMOTE_CONTROLLER, REMOTE, RemoteController(multipath=Multipath.MULTIPATH)),
        create(OpiKind.PATH, f"{REMOTE}/nvmePaths/p1", path(4420)),
        create(OpiKind.PATH, f"{REMOTE}/nvmePaths/p2", path(4430)),
        create(
            OpiKind.ENCRYPTED_VOLUME,
            "encryptedVolumes/e1",
            EncryptedVolume(volume_name_ref=f"{REMOTE}/nvmeRemoteNamespaces/n1", cipher=Cipher.AES_XTS_128),
            KEY,
        ),
        create(OpiKind.QOS_VOLUME, "qosVolumes/q1", QosVolume(volume_name_ref=null, limits=Limits(rw_iops_kiops=5))),
        create(OpiKind.SUBSYSTEM, SUBSYSTEM, Subsystem(nqn=NQN)),
        create(OpiKind.NAMESPACE, f"{SUBSYSTEM}/nvmeNamespaces/a", Namespace(volume_name_ref="encryptedVolumes/e1")),
        create(OpiKind.NAMESPACE, f"{SUBSYSTEM}/nvmeNamespaces/b", Namespace(volume_name_ref="qosVolumes/q1")),
        create(
            OpiKind.CONTROLLER,
            f"{SUBSYSTEM}/nvmeControllers/c1",
            Controller(trtype=Transport.TCP, fabrics_id=fabrics),
        ),
        create(OpiKind.VIRTIO_BLK, "virtioBlks/v1", VirtioBlk(pcie_id=slot, volume_name_ref="mallocVolumes/m1")),
        update(OpiKind.NULL_VOLUME, null, NullVolume(block_size=512, blocks_count=4096)),
        update(OpiKind.QOS_VOLUME, "qosVolumes/q1", QosVolume(volume_name_ref=null, limits=Limits(rw_bandwidth_mbs=9))),
        delete("virtioBlks/v1"),
        delete(f"{SUBSYSTEM}/nvmeControllers/c1"),
        delete(f"{SUBSYSTEM}/nvmeNamespaces/a"),
        delete(f"{SUBSYSTEM}/nvmeNamespaces/b"),
        delete(SUBSYSTEM),
        delete("qosVolumes/q1"),
        delete("encryptedVolumes/e1"),
        delete(f"{REMOTE}/nvmePaths/p2"),
        delete(f"{REMOTE}/nvmePaths/p1"),
        delete(REMOTE),
        delete("mallocVolumes/m1"),
        delete(null),
    ]


async def check_settled(objects: OpiObjects) -> None:
    """Everything wanted is there as wanted, nothing unwanted is kept."""
    seen = await objects.look()
    wanted = Wanted.of(objects.ledger.opi)
    for record in objects.ledger.opi.values():
        assert record.wanted, record
        assert record.established, record
        assert plan_opi(record, wanted, seen).settled, record


def check_nothing_leaked(ledger: Ledger, around: OpiWorld) -> None:
    """The block layer and the store have what the journal knows, and nothing else."""
    handles = {record.handle for record in ledger.opi.values()}
    state = around.state
    for name in (*state.bdevs, *state.remotes, *state.virtio_blks, *state.keys):
        assert name.partition("n")[0] in handles, name
    nqns = {record.spec.nqn for record in ledger.opi.values() if isinstance(record.spec, Subsystem)}
    assert set(state.subsystems) == nqns
    assert set(around.store.sets) == {record.secret for record in ledger.opi.values()} - {""}


def check_references(ledger: Ledger) -> None:
    """Every reference leads to something, and no volume has two users."""
    users: dict[str, str] = {}
    for record in ledger.opi.values():
        if volume_of(record):
            bdev = bdev_of(record, ledger.opi)
            assert bdev, record
            if record.kind is not OpiKind.QOS_VOLUME:
                assert users.setdefault(bdev, record.name) == record.name
        if record.parent:
            assert record.parent in ledger.opi, record


def is_empty(state: OpiState) -> bool:
    """Nothing of anybody's is there."""
    return not (state.bdevs or state.remotes or state.keys or state.subsystems or state.virtio_blks)
