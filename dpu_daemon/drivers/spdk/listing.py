"""What SPDK's lists say, read with the fields that matter here; names differ little from 24.09 to 26.09."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec

from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.qos import RateLimits
from dpu_daemon.drivers.spdk.rpc import SpdkRpc

T = TypeVar("T")


class TransportId(msgspec.Struct, frozen=True):
    """An address on a storage network, or of a front."""

    trtype: str = ""
    traddr: str = ""
    trsvcid: str = ""
    subnqn: str = ""


class NvmeHost(msgspec.Struct, frozen=True):
    """Who connected."""

    nqn: str = ""


class PathSeen(msgspec.Struct, frozen=True):
    """One path of a remote controller."""

    state: str = ""
    trid: TransportId = TransportId()
    host: NvmeHost = NvmeHost()


class ControllerSeen(msgspec.Struct, frozen=True):
    """A remote controller with its paths."""

    name: str
    ctrlrs: tuple[PathSeen, ...] = ()


class _RaidMember(msgspec.Struct, frozen=True):
    name: str | None = None


class _Raid(msgspec.Struct, frozen=True):
    base_bdevs_list: tuple[_RaidMember, ...] = ()


class _Crypto(msgspec.Struct, frozen=True):
    base_bdev_name: str = ""
    key_name: str = ""


class _Aio(msgspec.Struct, frozen=True):
    filename: str = ""
    readonly: bool = False


class _Driver(msgspec.Struct, frozen=True):
    raid: _Raid | None = None
    crypto: _Crypto | None = None
    aio: _Aio | None = None


class BdevSeen(msgspec.Struct, frozen=True):
    """A bdev."""

    name: str
    block_size: int = 512
    num_blocks: int = 0
    uuid: str = ""
    assigned_rate_limits: RateLimits = RateLimits()
    driver_specific: _Driver = _Driver()

    @property
    def size_bytes(self) -> int:
        """How much it holds."""
        return self.block_size * self.num_blocks

    @property
    def base(self) -> str:
        """The bdev that this one stands on; empty for one that stands on none."""
        own = self.driver_specific
        if own.crypto is not None:
            return own.crypto.base_bdev_name
        if own.raid is not None and own.raid.base_bdevs_list:
            return own.raid.base_bdevs_list[0].name or ""
        return ""


class NamespaceSeen(msgspec.Struct, frozen=True):
    """A namespace of a front."""

    nsid: int
    bdev_name: str = ""
    nguid: str = ""
    uuid: str = ""


class SubsystemSeen(msgspec.Struct, frozen=True):
    """A subsystem of ours or of somebody else."""

    nqn: str
    listen_addresses: tuple[TransportId, ...] = ()
    serial_number: str = ""
    namespaces: tuple[NamespaceSeen, ...] = ()


class SessionSeen(msgspec.Struct, frozen=True):
    """A client of a vhost socket."""

    name: str = ""


class _VhostBlock(msgspec.Struct, frozen=True):
    bdev: str | None = None
    readonly: bool = False


class _VhostBackend(msgspec.Struct, frozen=True):
    block: _VhostBlock | None = None


class VhostSeen(msgspec.Struct, frozen=True):
    """A vhost-user controller."""

    ctrlr: str
    socket: str = ""
    sessions: tuple[SessionSeen, ...] = ()
    backend_specific: _VhostBackend = _VhostBackend()

    @property
    def bdev(self) -> str:
        """What it shows; empty when that was taken from it."""
        block = self.backend_specific.block
        return (block.bdev or "") if block else ""

    @property
    def read_only(self) -> bool:
        """Whether its client may only read."""
        block = self.backend_specific.block
        return block.readonly if block else False


class Lists(msgspec.Struct, frozen=True):
    """One look at all or some of a process."""

    bdevs: dict[str, BdevSeen] = {}
    controllers: dict[str, ControllerSeen] = {}
    subsystems: dict[str, SubsystemSeen] = {}
    vhosts: dict[str, VhostSeen] = {}


async def list_all(rpc: SpdkRpc) -> Lists:
    """Everything, in one round trip."""
    bdevs, controllers, subsystems, vhosts = await asyncio.gather(
        rpc.call("bdev_get_bdevs", of=list[BdevSeen]),
        rpc.call("bdev_nvme_get_controllers", of=list[ControllerSeen]),
        rpc.call("nvmf_get_subsystems", of=list[SubsystemSeen]),
        _vhosts(rpc),
    )
    return Lists(
        bdevs={each.name: each for each in bdevs},
        controllers={each.name: each for each in controllers},
        subsystems={each.nqn: each for each in subsystems},
        vhosts={each.ctrlr: each for each in vhosts},
    )


async def _vhosts(rpc: SpdkRpc) -> list[VhostSeen]:
    return await rpc.call("vhost_get_controllers", of=list[VhostSeen]) if rpc.offers("vhost_get_controllers") else []


async def list_some(
    rpc: SpdkRpc, *, bdevs: tuple[str, ...], controllers: tuple[str, ...], subsystem: str, vhost: str
) -> Lists:
    """The named ones that are there, in one round trip, whatever else there is."""
    wanted: list[Awaitable[list[Any]]] = [
        *(_one(rpc, "bdev_get_bdevs", {"name": name}, BdevSeen) for name in bdevs),
        *(_one(rpc, "bdev_nvme_get_controllers", {"name": name}, ControllerSeen) for name in controllers),
    ]
    if subsystem:
        wanted.append(_one(rpc, "nvmf_get_subsystems", {"nqn": subsystem}, SubsystemSeen))
    if vhost:
        wanted.append(_one(rpc, "vhost_get_controllers", {"name": vhost}, VhostSeen))
    found = [each for several in await asyncio.gather(*wanted) for each in several]
    return Lists(
        bdevs={each.name: each for each in found if isinstance(each, BdevSeen)},
        controllers={each.name: each for each in found if isinstance(each, ControllerSeen)},
        subsystems={each.nqn: each for each in found if isinstance(each, SubsystemSeen)},
        vhosts={each.ctrlr: each for each in found if isinstance(each, VhostSeen)},
    )


async def _one(rpc: SpdkRpc, method: str, params: dict[str, str], of: type[T]) -> list[T]:
    """The codes of a missing object differ by method and release: a refused name is taken for a missing one."""
    try:
        return await rpc.call(method, params, of=list[of])  # type: ignore[valid-type]
    except SpdkError:
        return []
