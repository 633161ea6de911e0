"""What SPDK has of each disk, from its lists; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dpu_daemon.drivers.qsd.graph import INCOMPLETE
from dpu_daemon.drivers.spdk.listing import BdevSeen, ControllerSeen, Lists, PathSeen, SubsystemSeen, VhostSeen
from dpu_daemon.drivers.spdk.names import (
    FRONT_NSID,
    handle_of_crypto,
    handle_of_front,
    maker_of,
    split_remote_bdev,
)
from dpu_daemon.drivers.spdk.qos import qos_of
from dpu_daemon.model.disk import UNLIMITED, DiskSeen, SeedFile, TargetAddress, TargetPath
from dpu_daemon.model.identity import is_disk_handle

TRANSPORTS = {"TCP": "nvme+tcp", "RDMA": "nvme+rdma"}
"""SPDK's names to ours."""

_DEEPEST = 3
"""Front bdev, encryption, source."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What there is of one disk; empty and None for what there is not.

    Attributes:
        handle: of the disk.
        subsystem: its NVMe front.
        vhost: its virtio-blk front.
        layers: its bdevs, the one that the front opens first, the source last.
        controller: the remote controller, which may serve other disks too.
    """

    handle: str
    subsystem: SubsystemSeen | None = None
    vhost: VhostSeen | None = None
    layers: tuple[BdevSeen, ...] = ()
    controller: ControllerSeen | None = None

    @property
    def fronted(self) -> bool:
        """Whether anything of it faces the host."""
        return self.subsystem is not None or self.vhost is not None

    @property
    def top(self) -> BdevSeen | None:
        """What the front opens."""
        return self.layers[0] if self.layers else None

    @property
    def encrypted(self) -> bool:
        """Whether it is encrypted on this DPU."""
        return any(bdev.driver_specific.crypto is not None for bdev in self.layers)


def parts_of(lists: Lists, *, default_controllers: Iterable[str] = ()) -> dict[str, Parts]:
    """Every disk of ours of which there is anything; `default_controllers` are those of disks without a front yet."""
    found = {parts.handle: parts for parts in _with_front(lists)}
    taken = {parts.controller.name for parts in found.values() if parts.controller is not None}
    topped = {bdev.name for parts in found.values() for bdev in parts.layers}
    for handle, top in _loose_tops(lists, topped):
        if handle not in found:
            layers = _chain(lists, top)
            found[handle] = Parts(handle, layers=layers, controller=_controller(lists, layers))
    taken |= {parts.controller.name for parts in found.values() if parts.controller is not None}
    for name, controller in lists.controllers.items():
        handle = maker_of(name)
        if handle and handle not in found and (name not in taken or name in default_controllers):
            found[handle] = Parts(handle, layers=_loose_layers(lists, name), controller=controller)
    return found


def _with_front(lists: Lists) -> Iterator[Parts]:
    for nqn, subsystem in lists.subsystems.items():
        handle = handle_of_front(nqn)
        if is_disk_handle(handle):
            layers = _chain(lists, subsystem.namespaces[0].bdev_name if subsystem.namespaces else "")
            yield Parts(handle, subsystem=subsystem, layers=layers, controller=_controller(lists, layers))
    for handle, vhost in lists.vhosts.items():
        # One whose bdev was taken from it only waits for its client to leave.
        if is_disk_handle(handle) and vhost.bdev:
            layers = _chain(lists, vhost.bdev)
            yield Parts(handle, vhost=vhost, layers=layers, controller=_controller(lists, layers))


def _loose_tops(lists: Lists, topped: set[str]) -> Iterator[tuple[str, str]]:
    """File and encrypting bdevs that are named after a disk, and no front has."""
    for name in lists.bdevs:
        handle = handle_of_crypto(name) or name
        if is_disk_handle(handle) and name not in topped:
            yield handle, name


def _loose_layers(lists: Lists, controller: str) -> tuple[BdevSeen, ...]:
    """Bdevs of a controller that no front uses, and what was built on them and left half-way."""
    sources = [bdev for name, bdev in lists.bdevs.items() if split_remote_bdev(name)[0] == controller]
    names = {bdev.name for bdev in sources}
    first = [bdev for bdev in lists.bdevs.values() if bdev.base in names]
    second = [bdev for bdev in lists.bdevs.values() if bdev.base in {bdev.name for bdev in first}]
    return (*second, *first, *sources)


def _chain(lists: Lists, top: str) -> tuple[BdevSeen, ...]:
    layers: list[BdevSeen] = []
    name = top
    while len(layers) < _DEEPEST and (bdev := lists.bdevs.get(name)) is not None:
        layers.append(bdev)
        name = bdev.base
    return tuple(layers)


def _controller(lists: Lists, layers: tuple[BdevSeen, ...]) -> ControllerSeen | None:
    return lists.controllers.get(split_remote_bdev(layers[-1].name)[0]) if layers else None


def disk_of(parts: Parts, *, listens: bool) -> DiskSeen:
    """A disk for the engine; `listens` when fronts have listeners of their own."""
    top = parts.top
    return DiskSeen(
        handle=parts.handle,
        source=source_of(parts),
        size_bytes=top.size_bytes if top is not None else 0,
        read_only=_read_only(parts),
        qos=qos_of(top.assigned_rate_limits) if top is not None else UNLIMITED,
        exposed=parts.fronted,
        whole=_whole(parts, listens=listens),
        encrypted=parts.encrypted,
        trouble=_trouble(parts.controller),
    )


def source_of(parts: Parts) -> TargetAddress | SeedFile | None:
    """Where the disk comes from, as far as SPDK tells: it names no credentials. None while it has no source."""
    if not parts.layers:
        return None
    base = parts.layers[-1]
    if base.driver_specific.aio is not None:
        return SeedFile(path=base.driver_specific.aio.filename)
    if parts.controller is None or not parts.controller.ctrlrs:
        return INCOMPLETE
    first, *others = (path.trid for path in parts.controller.ctrlrs)
    return TargetAddress(
        transport=TRANSPORTS.get(first.trtype, first.trtype.lower()),
        host=first.traddr,
        port=int(first.trsvcid or 0),
        export=first.subnqn,
        paths=tuple(TargetPath(host=trid.traddr, port=int(trid.trsvcid or 0)) for trid in others),
        nsid=split_remote_bdev(base.name)[1],
    )


def _read_only(parts: Parts) -> bool:
    aio = parts.layers[-1].driver_specific.aio if parts.layers else None
    return (aio is not None and aio.readonly) or (parts.vhost is not None and parts.vhost.read_only)


def _whole(parts: Parts, *, listens: bool) -> bool:
    if parts.vhost is not None:
        return bool(parts.layers)
    if parts.subsystem is None or not parts.layers:
        return False
    spaces = parts.subsystem.namespaces
    return any(each.nsid == FRONT_NSID for each in spaces) and (bool(parts.subsystem.listen_addresses) or not listens)


def _trouble(controller: ControllerSeen | None) -> str:
    """Why requests wait, as a sentence; empty when one path at least works."""
    if controller is None or not controller.ctrlrs or any(_works(path) for path in controller.ctrlrs):
        return ""
    path = controller.ctrlrs[0]
    where = f"{path.trid.traddr}:{path.trid.trsvcid}"
    return f"the target at {where} does not answer ({path.state}); requests wait for it"


def _works(path: PathSeen) -> bool:
    return path.state == "enabled"
