"""What a look at the block layer finds of the objects that OPI clients make."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dpu_daemon.model.opi import NO_LIMITS, Limits, Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class BdevSeen:
    """A block device; `nsid`, `nguid` and `eui64` are a remote namespace's, `base` is what an encrypted one lies on."""

    name: str
    block_size: int
    blocks_count: int
    uuid: str = ""
    limits: Limits = NO_LIMITS
    base: str = ""
    nsid: int = 0
    nguid: str = ""
    eui64: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSeen:
    """One connection of a remote controller."""

    trtype: Transport
    traddr: str
    trsvcid: str
    subnqn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where a subsystem is shown.

    For a PCIe function the address is the function and the service is the handle of the controller that the host's bus
    shows there; empty while it shows none.
    """

    trtype: Transport
    traddr: str
    trsvcid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceSeen:
    bdev: str
    nguid: str = ""
    uuid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsystemSeen:
    nqn: str
    serial_number: str
    model_number: str
    any_host: bool = False
    hosts: frozenset[str] = frozenset()
    listeners: frozenset[Listener] = frozenset()
    namespaces: Mapping[int, NamespaceSeen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtioSeen:
    """A virtio-blk device.

    Attributes:
        bdev: empty when its volume was taken away beneath it.
        connected: a host has it open.
        plugged: the host's bus shows it.
    """

    bdev: str
    connected: bool = False
    plugged: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OpiSeen:
    """One look; keys are names in the block layer, NQNs for subsystems."""

    bdevs: Mapping[str, BdevSeen] = field(default_factory=dict)
    remotes: Mapping[str, tuple[PathSeen, ...]] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()
    subsystems: Mapping[str, SubsystemSeen] = field(default_factory=dict)
    virtio_blks: Mapping[str, VirtioSeen] = field(default_factory=dict)

    def uses(self, bdev: str) -> bool:
        """Whether something has the block device open."""
        return (
            any(seen.base == bdev for seen in self.bdevs.values())
            or any(space.bdev == bdev for seen in self.subsystems.values() for space in seen.namespaces.values())
            or any(seen.bdev == bdev for seen in self.virtio_blks.values())
        )
