"""An OPI object made right: which call of the driver does which step."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.opi.protocols import OpiDriver
from dpu_daemon.engine.opi.sight import Sight
from dpu_daemon.engine.rows import Record
from dpu_daemon.model.opi import (
    AioVolume,
    Controller,
    EncryptedVolume,
    MallocVolume,
    Namespace,
    NullVolume,
    OpiObject,
    RemoteController,
    RemotePath,
    Subsystem,
    VirtioBlk,
)
from dpu_daemon.model.opi_seen import OpiSeen
from dpu_daemon.plan.opi import Wanted, listener, plan_opi
from dpu_daemon.plan.opi_steps import OpiStep, OpiVerb
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.steps import Step
from proto.errors import DpuError
from proto.reasons import Reason

Act = Callable[[OpiDriver, OpiStep], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class OpiJob:
    """The convergence of one object; gone from the ledger counts as nothing to do."""

    subject: str
    ledger: Ledger
    driver: OpiDriver
    sight: Sight[OpiSeen]

    async def look(self) -> OpiSeen:
        return await self.sight.look()

    def decide(self, seen: OpiSeen) -> Plan:
        want = self.ledger.opi.get(self.subject)
        if want is None:
            return Plan.nothing(f"{self.subject} is not journalled")
        return plan_opi(want, Wanted.of(self.ledger.opi), seen)

    async def apply(self, step: Step) -> tuple[Record, ...]:
        if not isinstance(step, OpiStep):
            raise DpuError(Reason.INTERNAL, f"not a step of an OPI object: {step.says()}")
        await ACTS[step.verb](self.driver, step)
        return ()


def _volume(step: OpiStep) -> NullVolume | MallocVolume | AioVolume:
    match step.subject.spec:
        case NullVolume() | MallocVolume() | AioVolume() as volume:
            return volume
        case _:
            raise _misplaced(step)


def _path(step: OpiStep) -> tuple[str, RemoteController, RemotePath]:
    match step.owner, step.subject.spec:
        case OpiObject(handle=handle, spec=RemoteController() as controller), RemotePath() as path:
            return handle, controller, path
        case _:
            raise _misplaced(step)


def _subsystem(thing: OpiObject | None, step: OpiStep) -> Subsystem:
    if thing is None or not isinstance(thing.spec, Subsystem):
        raise _misplaced(step)
    return thing.spec


def _namespace(step: OpiStep) -> Namespace:
    if not isinstance(step.subject.spec, Namespace):
        raise _misplaced(step)
    return step.subject.spec


def _encrypted(step: OpiStep) -> EncryptedVolume:
    if not isinstance(step.subject.spec, EncryptedVolume):
        raise _misplaced(step)
    return step.subject.spec


def _controller(step: OpiStep) -> Controller:
    if not isinstance(step.subject.spec, Controller):
        raise _misplaced(step)
    return step.subject.spec


def _virtio(step: OpiStep) -> VirtioBlk:
    if not isinstance(step.subject.spec, VirtioBlk):
        raise _misplaced(step)
    return step.subject.spec


def _misplaced(step: OpiStep) -> DpuError:
    return DpuError(Reason.INTERNAL, f"a step that its object cannot take: {step.says()}")


async def _connect(driver: OpiDriver, step: OpiStep) -> None:
    handle, controller, path = _path(step)
    await driver.connect_path(handle, controller, path)


async def _disconnect(driver: OpiDriver, step: OpiStep) -> None:
    handle, _, path = _path(step)
    await driver.disconnect_path(handle, path)


async def _admit(driver: OpiDriver, step: OpiStep) -> None:
    await driver.admit_host(_subsystem(step.subject, step), step.host)


async def _listen(driver: OpiDriver, step: OpiStep) -> None:
    await driver.listen(_subsystem(step.owner, step), listener(step.subject, _controller(step)))


async def _stop_listening(driver: OpiDriver, step: OpiStep) -> None:
    where = listener(step.subject, _controller(step))
    await driver.stop_listening(_subsystem(step.owner, step).nqn, where)


async def _add_namespace(driver: OpiDriver, step: OpiStep) -> None:
    await driver.add_namespace(_subsystem(step.owner, step).nqn, step.bdev, _namespace(step))


async def _remove_namespace(driver: OpiDriver, step: OpiStep) -> None:
    await driver.remove_namespace(_subsystem(step.owner, step).nqn, _namespace(step).host_nsid)


ACTS: dict[OpiVerb, Act] = {
    OpiVerb.MAKE_VOLUME: lambda driver, step: driver.make_volume(step.subject.handle, _volume(step)),
    OpiVerb.GROW_VOLUME: lambda driver, step: driver.grow_volume(step.subject.handle, _volume(step)),
    OpiVerb.REMOVE_VOLUME: lambda driver, step: driver.remove_volume(step.subject.handle, _volume(step)),
    OpiVerb.CONNECT_PATH: _connect,
    OpiVerb.DISCONNECT_PATH: _disconnect,
    OpiVerb.ENCRYPT: lambda driver, step: driver.encrypt(step.subject.handle, step.bdev, _encrypted(step)),
    OpiVerb.DECRYPT: lambda driver, step: driver.decrypt(step.subject.handle),
    OpiVerb.LIMIT: lambda driver, step: driver.limit(step.bdev, step.limits),
    OpiVerb.MAKE_SUBSYSTEM: lambda driver, step: driver.make_subsystem(_subsystem(step.subject, step)),
    OpiVerb.REMOVE_SUBSYSTEM: lambda driver, step: driver.remove_subsystem(_subsystem(step.subject, step).nqn),
    OpiVerb.ADMIT_HOST: _admit,
    OpiVerb.EXPEL_HOST: lambda driver, step: driver.expel_host(_subsystem(step.subject, step).nqn, step.host),
    OpiVerb.LISTEN: _listen,
    OpiVerb.STOP_LISTENING: _stop_listening,
    OpiVerb.ADD_NAMESPACE: _add_namespace,
    OpiVerb.REMOVE_NAMESPACE: _remove_namespace,
    OpiVerb.MAKE_VIRTIO_BLK: lambda driver, step: driver.make_virtio_blk(step.subject.handle, _virtio(step), step.bdev),
    OpiVerb.REMOVE_VIRTIO_BLK: lambda driver, step: driver.remove_virtio_blk(step.subject.handle),
}
