"""A world in memory behind the fake drivers: storage node, block layer, host, switch. It outlives the daemon.

Kept in a file when it has a path, so that a daemon in another process can be killed and find it again.
"""

import asyncio
import os
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dpu_daemon.model.disk import DiskSeen, DiskStats, FunctionSeen, TargetAddress
from dpu_daemon.model.port import LinkSeen, NicSeen, SwitchPortSeen
from dpu_daemon.model.volume import VolumeSeen
from proto.errors import DpuError
from proto.reasons import Reason


class Killed(BaseException):
    """The daemon died here: no handler of its own may see this."""


@dataclass
class State:
    """All that survives a daemon."""

    exports: dict[str, int] = field(default_factory=dict)
    """Size of what a storage node serves, by export name."""
    disks: dict[str, DiskSeen] = field(default_factory=dict)
    functions: dict[int, FunctionSeen] = field(default_factory=dict)
    nics: dict[int, NicSeen] = field(default_factory=dict)
    host_on: bool = True
    shown_bytes: dict[int, int] = field(default_factory=dict)
    bridges: set[str] = field(default_factory=set)
    switch_ports: dict[str, SwitchPortSeen] = field(default_factory=dict)
    links: dict[str, LinkSeen] = field(default_factory=dict)
    next_ofport: int = 1
    natures: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Datapath of a bridge, and whether it is secure."""
    chassis: dict[str, str] = field(default_factory=dict)
    loose_limits: set[str] = field(default_factory=set)
    ovn_installs: bool = True
    """ovn-controller installs the flows of each port that is plugged."""
    ovn_trouble: str = ""
    seed_files: dict[str, dict[str, str]] = field(default_factory=dict)
    image_files: dict[str, int] = field(default_factory=dict)
    """Virtual size by file name."""
    open_images: set[str] = field(default_factory=set)
    volumes: dict[str, VolumeSeen] = field(default_factory=dict)
    clones: dict[str, str] = field(default_factory=dict)
    """What volumes and snapshots stand on, by handle: an image's id, or a snapshot's handle."""
    snapshots: dict[str, int] = field(default_factory=dict)
    """Size by handle."""
    prepared: set[str] = field(default_factory=set)
    """Handles of snapshots whose cut was prepared and has not happened."""
    answering: set[str] = field(default_factory=set)
    """Addresses that answer a probe."""
    stats: dict[str, DiskStats] = field(default_factory=dict)
    plugs: Counter[str] = field(default_factory=Counter)
    """How often the host saw a serial or a MAC arrive."""
    total_bytes: int = 1 << 40


@dataclass
class Faults:
    """What goes wrong, and when. Calls are named ``block.connect``, ``bus.plug_disk`` and so on."""

    errors: dict[str, list[DpuError]] = field(default_factory=dict)
    """Raised before the call did anything, one after the other."""
    lost_answers: dict[str, list[DpuError]] = field(default_factory=dict)
    """Raised after the call did its work."""
    down: set[str] = field(default_factory=set)
    """Drivers whose other side does not answer: ``block``, ``bus``, ``switch``, ``links``, ``target``."""
    hung: set[str] = field(default_factory=set)
    """Calls that never return."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """Calls that wait for an event."""
    host_holds: bool = False
    """The guest does not let go of devices."""
    unshreddable: set[str] = field(default_factory=set)
    """Handles of volumes that cannot be overwritten."""
    kill_at: int | None = None
    """The daemon dies at this point; there is one before and one after every act and every journal transaction."""
    dead: bool = False


class World:
    """State and faults together; all fake drivers of a test share one."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.faults = Faults()
        self.calls: list[str] = []
        self._watched: dict[str, asyncio.Event] = {}
        self.points = 0
        self.state = State()
        if path is not None and path.exists():
            self.state = pickle.loads(path.read_bytes())  # noqa: S301  (written by this class)

    def save(self) -> None:
        """Write the state, atomically."""
        if self._path is not None:
            fresh = self._path.with_suffix(".new")
            fresh.write_bytes(pickle.dumps(self.state))
            os.replace(fresh, self._path)  # noqa: PTH105

    async def look(self, driver: str) -> None:
        """A call that only reads."""
        self.calls.append(f"{driver}.look")
        await asyncio.sleep(0)
        await self._obstruct(driver, f"{driver}.look")

    async def act(self, driver: str, name: str, work: Callable[[], None]) -> None:
        """A call that changes the world, unless a fault says otherwise."""
        call = f"{driver}.{name}"
        self.calls.append(call)
        await asyncio.sleep(0)
        await self._obstruct(driver, call)
        self.point()
        work()
        self.save()
        self.point()
        if self.faults.lost_answers.get(call):
            raise self.faults.lost_answers[call].pop(0)

    async def called(self, call: str) -> None:
        """Wait until a call is made, now or before."""
        if call not in self.calls:
            await self._watched.setdefault(call, asyncio.Event()).wait()

    async def _obstruct(self, driver: str, call: str) -> None:
        if call in self._watched:
            self._watched[call].set()
        if self.faults.dead:
            raise Killed
        if driver in self.faults.down:
            raise DpuError(Reason.UNAVAILABLE, f"the {driver} does not answer", remedy="start it")
        if self.faults.errors.get(call):
            raise self.faults.errors[call].pop(0)
        if call in self.faults.hung:
            await asyncio.Event().wait()
        if call in self.faults.gates:
            await self.faults.gates[call].wait()

    def point(self) -> None:
        """A place where the daemon may die."""
        if self.faults.dead:
            raise Killed
        self.points += 1
        if self.points == self.faults.kill_at:
            self.faults.dead = True
            raise Killed

    def serve(self, export: str, size_bytes: int) -> TargetAddress:
        """A volume of a storage node elsewhere; returns where it is reached."""
        self.state.exports[export] = size_bytes
        self.save()
        return TargetAddress(transport="nbd+tcp", host="192.0.2.10", port=10809, export=export)

    def restart_block_layer(self) -> None:
        """The DPU's storage daemon was killed and is back: its configuration was only in memory."""
        self.state.disks.clear()
        self.save()

    def restart_target(self) -> None:
        """The storage node's daemon was killed and is back: files stay, nodes and exports are gone."""
        self.state.open_images.clear()
        for handle, volume in list(self.state.volumes.items()):
            self.state.volumes[handle] = VolumeSeen(
                handle=handle,
                file_exists=volume.file_exists,
                opened=False,
                size_bytes=volume.size_bytes,
                allocated_bytes=volume.allocated_bytes,
                exported=False,
                export_read_only=False,
            )
            self.state.exports.pop(handle, None)
        self.save()

    def add_links(self, pattern: str, count: int) -> None:
        """Representors, as a DPU has them from its start."""
        for n in range(count):
            name = pattern.format(n=n)
            mac = f"02:00:00:00:00:{n:02x}"
            self.state.links[name] = LinkSeen(name=name, mac=mac, mtu=1500, up=False, carrier=False)
