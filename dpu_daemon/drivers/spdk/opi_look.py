"""What SPDK and the host's bus have of the objects that OPI clients make."""

import asyncio
from collections.abc import Mapping
from pathlib import PurePath

import msgspec

from dpu_daemon.drivers.spdk.emulation import Emulation
from dpu_daemon.drivers.spdk.listing import ControllerSeen, TransportId, VhostSeen
from dpu_daemon.drivers.spdk.qos import RateLimits
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.model.disk import FunctionSeen
from dpu_daemon.model.identity import is_opi_handle
from dpu_daemon.model.opi import Limits, Transport
from dpu_daemon.model.opi_seen import (
    BdevSeen,
    Listener,
    NamespaceSeen,
    OpiSeen,
    PathSeen,
    SubsystemSeen,
    VirtioSeen,
)

TRTYPES = {"TCP": Transport.TCP, "RDMA": Transport.RDMA, "PCIE": Transport.PCIE}
KIOPS = 1000


class _NamespaceData(msgspec.Struct, frozen=True):
    id: int = 0
    nguid: str = ""
    eui64: str = ""


class _Nvme(msgspec.Struct, frozen=True):
    ns_data: _NamespaceData = _NamespaceData()


class _Crypto(msgspec.Struct, frozen=True):
    base_bdev_name: str = ""


class _Driver(msgspec.Struct, frozen=True):
    nvme: tuple[_Nvme, ...] = ()
    crypto: _Crypto | None = None


class _Bdev(msgspec.Struct, frozen=True):
    name: str
    block_size: int = 512
    num_blocks: int = 0
    uuid: str = ""
    assigned_rate_limits: RateLimits = RateLimits()
    driver_specific: _Driver = _Driver()


class _Host(msgspec.Struct, frozen=True):
    nqn: str


class _Namespace(msgspec.Struct, frozen=True):
    nsid: int
    bdev_name: str = ""
    nguid: str = ""
    uuid: str = ""


class _Subsystem(msgspec.Struct, frozen=True):
    nqn: str
    serial_number: str = ""
    model_number: str = ""
    allow_any_host: bool = False
    hosts: tuple[_Host, ...] = ()
    listen_addresses: tuple[TransportId, ...] = ()
    namespaces: tuple[_Namespace, ...] = ()


class _Key(msgspec.Struct, frozen=True):
    """The reply has the key itself, too: it is not read."""

    name: str


async def opi_look(rpc: SpdkRpc, emulation: Emulation) -> OpiSeen:
    """Everything, in one round trip."""
    bdevs, controllers, subsystems, vhosts, keys, functions = await asyncio.gather(
        rpc.call("bdev_get_bdevs", of=list[_Bdev]),
        rpc.call("bdev_nvme_get_controllers", of=list[ControllerSeen]),
        rpc.call("nvmf_get_subsystems", of=list[_Subsystem]),
        _vhosts(rpc),
        _keys(rpc),
        emulation.look(),
    )
    return OpiSeen(
        bdevs={each.name: _bdev(each) for each in bdevs},
        remotes={each.name: tuple(_paths(each)) for each in controllers if is_opi_handle(each.name)},
        keys=frozenset(key.name for key in keys),
        subsystems={each.nqn: _subsystem(each, emulation, functions) for each in subsystems},
        virtio_blks={each.ctrlr: _virtio(each, functions) for each in vhosts if is_opi_handle(each.ctrlr)},
    )


async def _vhosts(rpc: SpdkRpc) -> list[VhostSeen]:
    return await rpc.call("vhost_get_controllers", of=list[VhostSeen]) if rpc.offers("vhost_get_controllers") else []


async def _keys(rpc: SpdkRpc) -> list[_Key]:
    return await rpc.call("accel_crypto_keys_get", of=list[_Key]) if rpc.offers("accel_crypto_keys_get") else []


def _bdev(seen: _Bdev) -> BdevSeen:
    own, rates = seen.driver_specific, seen.assigned_rate_limits
    space = own.nvme[0].ns_data if own.nvme else _NamespaceData()
    return BdevSeen(
        name=seen.name,
        block_size=seen.block_size,
        blocks_count=seen.num_blocks,
        uuid=seen.uuid,
        limits=Limits(
            rw_iops_kiops=rates.rw_ios_per_sec // KIOPS,
            rw_bandwidth_mbs=rates.rw_mbytes_per_sec,
            rd_bandwidth_mbs=rates.r_mbytes_per_sec,
            wr_bandwidth_mbs=rates.w_mbytes_per_sec,
        ),
        base=own.crypto.base_bdev_name if own.crypto else "",
        nsid=space.id,
        nguid=space.nguid.lower(),
        eui64=int(space.eui64, 16) if space.eui64 else 0,
    )


def _paths(seen: ControllerSeen) -> list[PathSeen]:
    return [
        PathSeen(
            trtype=TRTYPES[path.trid.trtype.upper()],
            traddr=path.trid.traddr,
            trsvcid=path.trid.trsvcid,
            subnqn="" if path.trid.trtype.upper() == "PCIE" else path.trid.subnqn,
        )
        for path in seen.ctrlrs
        if path.trid.trtype.upper() in TRTYPES
    ]


def _subsystem(seen: _Subsystem, emulation: Emulation, functions: Mapping[int, FunctionSeen]) -> SubsystemSeen:
    listeners = (_listener(address, emulation, functions) for address in seen.listen_addresses)
    return SubsystemSeen(
        nqn=seen.nqn,
        serial_number=seen.serial_number,
        model_number=seen.model_number,
        any_host=seen.allow_any_host,
        hosts=frozenset(host.nqn for host in seen.hosts),
        listeners=frozenset(each for each in listeners if each is not None),
        namespaces={
            each.nsid: NamespaceSeen(bdev=each.bdev_name, nguid=each.nguid.lower(), uuid=each.uuid)
            for each in seen.namespaces
        },
    )


def _listener(address: TransportId, emulation: Emulation, functions: Mapping[int, FunctionSeen]) -> Listener | None:
    if address.trtype.upper() in TRTYPES:
        trtype = TRTYPES[address.trtype.upper()]
        return Listener(trtype=trtype, traddr=address.traddr, trsvcid=address.trsvcid)
    slot = _slot_of(address, emulation)
    if slot is None:
        return None
    shown = functions.get(slot)
    return Listener(trtype=Transport.PCIE, traddr=f"0/{slot}/0", trsvcid=shown.handle if shown else "")


def _slot_of(address: TransportId, emulation: Emulation) -> int | None:
    """The slot of a vfio-user listener: its folder is called like it."""
    name = PurePath(address.traddr).name
    if not name.isdecimal():
        return None
    listener = emulation.listener(int(name))
    return int(name) if listener is not None and listener["traddr"] == address.traddr else None


def _virtio(seen: VhostSeen, functions: Mapping[int, FunctionSeen]) -> VirtioSeen:
    plugged = any(function.handle == seen.ctrlr for function in functions.values())
    return VirtioSeen(bdev=seen.bdev, connected=bool(seen.sessions), plugged=plugged)
