"""A HostBus whose host is this machine and has no PCIe: each disk is a FUSE file ``DIRECTORY/SERIAL``.

Beside the DPU's block layer stands a second qemu-storage-daemon that plays the host: it is a client of the DPU's NBD
exports, as the host's QEMU is elsewhere, and shows each as a file. So the DPU's storage may be killed and come back
while the files stay. Slots are kept in ``DIRECTORY/.slots``: one record each, written before anything is made.
"""

import asyncio
import contextlib
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dpu_daemon.drivers import mountpoints
from dpu_daemon.drivers.host_process import HostProcess
from dpu_daemon.drivers.qsd.graph import exports_in, nodes_in
from dpu_daemon.drivers.qsd.nbd import UnixAddress, greets
from dpu_daemon.drivers.qsd.session import COMMAND_TIMEOUT_S, QmpSession, RefusedError
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.disk import DiskProtocol, FunctionSeen
from dpu_daemon.model.port import NicSeen
from proto.errors import DpuError
from proto.reasons import Reason

SLOTS = ".slots"
RECONNECT_DELAY_S = 3600
"""As the lab's host: a disk waits for its DPU as long as it takes, and does not fail."""
OPEN_TIMEOUT_S = 5
GREETING_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 2.0
BACK_TIMEOUT_S = 18.0
"""More than the 16 s that QEMU's NBD client waits at most between two tries."""
READ_TIMEOUT_S = 8.0
GONE_TIMEOUT_S = 8.0
ASK_AGAIN_S = 0.05
"""Nothing tells when a file is no longer open."""
_SERIAL = re.compile(r"[A-Za-z0-9_-]{1,20}")


class _Record(msgspec.Struct, frozen=True):
    """What a slot holds."""

    slot: int
    handle: str
    protocol: DiskProtocol
    serial: str
    nguid: str
    read_only: bool
    boot_order: int


class FuseBus:
    """A HostBus.

    Args:
        directory: where disks appear; made when it is missing.
        qmp: path of the QMP socket of the qemu-storage-daemon that plays the host.
        nbd_socket: path of the Unix socket on which the DPU's block layer offers its disks.
        slots: how many disks the host may have.
    """

    def __init__(self, *, directory: str, qmp: str, nbd_socket: str, slots: int) -> None:
        self._directory = Path(directory)
        self._session = QmpSession(qmp)
        self._nbd_socket = nbd_socket
        self._count = slots
        self._host = HostProcess()

    async def start(self, lost: Lost) -> None:
        with _files(self._directory):
            (self._directory / SLOTS).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory = self._directory.resolve()  # as the kernel's table of mounts says it
        await self._session.start(lost)

    async def stop(self) -> None:
        await self._session.stop()
        self._host.forget()

    def version(self) -> str:
        version = self._session.version()
        return f"fuse {version}" if version else ""

    def disk_slots(self) -> int:
        return self._count

    def nic_slots(self) -> int:
        """None: a file system has no network."""
        return 0

    def grows_live(self, protocol: DiskProtocol) -> bool:
        """As in the lab, so that both ways of growing are met."""
        return protocol is DiskProtocol.VIRTIO_BLK

    async def look_disks(self) -> Mapping[int, FunctionSeen]:
        """Disks that are really there; a record alone, left by a killed host, is none.

        While a request waits for a disk that the DPU does not serve, the host's daemon answers nobody: FUSE requests
        are served in its main loop. Its files are there as long as it lives; who doubts that never puts the disk back.
        """
        try:
            live = await self._live(timeout_s=ANSWER_TIMEOUT_S)
            self._host.remember(self._session.peer())
        except DpuError:
            if not self._host.lives():
                raise
            live = self._shown()
        return {record.slot: _seen(record) for record in self._records() if record.handle in live}

    async def look_nics(self) -> Mapping[int, NicSeen]:
        return {}

    async def host_is_on(self) -> bool:
        """It is where this runs."""
        return True

    async def plug_disk(self, function: FunctionSeen) -> None:
        """Makes the file of a disk.

        Raises:
            DpuError: INVALID serial or slot; IN_USE, another disk has the slot; ALREADY_EXISTS, this disk is there
                otherwise; UNAVAILABLE, its export or the host's qemu-storage-daemon does not answer.
        """
        self._check(function)
        wanted = _record(function)
        live = await self._answered()
        for known in self._records():
            if known.handle not in live or wanted.slot != known.slot:
                continue
            if known == wanted:
                return
            if known.handle != wanted.handle:
                message = f"slot {known.slot} holds disk {known.handle}"
                raise DpuError(Reason.IN_USE, message, field="slot", remedy="unplug it first")
            message = f"disk {known.handle} is plugged otherwise"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="handle", remedy="unplug it first")
        with _files(self._directory):
            self._note(wanted)
        await self._withdraw(wanted.handle)
        await self._show(wanted)

    async def unplug_disk(self, slot: int, handle: str, *, timeout_s: float, force: bool) -> None:
        """Takes a disk's file away once nothing uses it; another disk in that slot is left alone.

        Raises:
            DpuError: DEADLINE when it is still open after `timeout_s` and `force` is not given.
        """
        known = next((record for record in self._records() if record.slot == slot), None)
        if known is None or known.handle != handle:
            return
        path = self._directory / known.serial
        if handle in await self._live() and not await _idle(path, timeout_s) and not force:
            users = ", ".join(mountpoints.loop_devices_on(path)) or "an open file"
            message = f"the host did not let go of {known.serial} within {timeout_s:g} s: {users} uses it"
            raise DpuError(Reason.DEADLINE, message, remedy="unstage the volume on the host, or detach by force")
        await self._withdraw(handle)
        with _files(path):
            mountpoints.detach(path)
            path.unlink(missing_ok=True)
            self._slot_file(slot).unlink(missing_ok=True)

    async def grow_disk(self, slot: int, size_bytes: int) -> None:
        """Lets the host's end reconnect and learn the size.

        Raises:
            DpuError: NOT_FOUND for an empty slot, UNSUPPORTED for NVMe, UNAVAILABLE while the DPU does not serve it.
        """
        live = await self._live()
        known = next((record for record in self._records() if record.slot == slot and record.handle in live), None)
        if known is None:
            raise DpuError(Reason.NOT_FOUND, f"slot {slot} is empty", field="slot", remedy="plug the disk first")
        if not self.grows_live(known.protocol):
            message = f"{known.protocol.value} disks of this bus do not grow under a running host"
            raise DpuError(Reason.UNSUPPORTED, message, field="protocol", remedy="detach it and attach it again")
        # A read through a dead socket would wait for the whole reconnect delay: ask first.
        if not await greets(UnixAddress(self._nbd_socket), timeout_s=GREETING_TIMEOUT_S):
            message = f"no NBD server answers on {self._nbd_socket}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="wait until the DPU serves the disk again")
        await _read_past_cache(self._directory / known.serial)
        try:
            await self._session.execute("block_resize", {"node-name": known.handle, "size": size_bytes})
        except RefusedError as error:
            message = f"the DPU does not show {size_bytes} bytes of {known.handle} yet: {error.desc}"
            raise DpuError(Reason.UNAVAILABLE, message, field="size_bytes", remedy="grow its export first") from error

    async def plug_nic(self, nic: NicSeen, *, mtu: int) -> None:
        """Refuses.

        Raises:
            DpuError: UNSUPPORTED.
        """
        del mtu
        message = f"there is no slot for port {nic.port_id}: this host has no PCIe bus"
        raise DpuError(Reason.UNSUPPORTED, message, field="vf", remedy="use a host with a bus of driver lab")

    async def unplug_nic(self, vf: int, port_id: str, *, timeout_s: float, force: bool) -> None:
        """None can be there."""

    def _check(self, function: FunctionSeen) -> None:
        if not _SERIAL.fullmatch(function.serial):
            message = f"{function.serial!r} is no serial of 1 to 20 letters, digits, '-' and '_'"
            raise DpuError(Reason.INVALID, message, field="serial", remedy="give one")
        if not 0 <= function.slot < self._count:
            message = f"slot {function.slot} is not one of {self._count}"
            raise DpuError(Reason.INVALID, message, field="slot", remedy="raise bus.slots")

    async def _answered(self) -> set[str]:
        """As _live(), once a host that waits for a disk has it back; its NBD client tries at ever longer intervals."""
        deadline = asyncio.get_running_loop().time() + BACK_TIMEOUT_S
        while True:
            try:
                return await self._live(timeout_s=ANSWER_TIMEOUT_S)
            except DpuError:
                if not self._host.lives() or asyncio.get_running_loop().time() >= deadline:
                    raise
            await asyncio.sleep(ASK_AGAIN_S)

    def _shown(self) -> set[str]:
        """Handles of the disks whose file is mounted."""
        mounted = mountpoints.mounted_below(self._directory)
        return {record.handle for record in self._records() if self._directory / record.serial in mounted}

    async def _live(self, *, timeout_s: float = COMMAND_TIMEOUT_S) -> set[str]:
        """Handles of the disks whose file leads to the host's daemon."""
        exports = exports_in(await self._session.execute("query-block-exports", timeout_s=timeout_s))
        shown = self._shown()
        return {name for name, export in exports.items() if name in shown and not export.closing}

    async def _show(self, record: _Record) -> None:
        path = self._directory / record.serial
        with _files(path):
            mountpoints.detach(path)  # what a killed daemon left
            path.touch(mode=0o600)
        await self._session.execute("blockdev-add", _node(record, self._nbd_socket))
        await self._session.execute(
            "block-export-add",
            {
                "type": "fuse",
                "id": record.handle,
                "node-name": record.handle,
                "mountpoint": str(path),
                "writable": not record.read_only,
                "growable": False,
                "allow-other": "off",
            },
        )

    async def _withdraw(self, handle: str) -> None:
        """Removes export and node, as far as they are there."""

        async def gone() -> bool:
            return handle not in exports_in(await self._session.execute("query-block-exports"))

        if not await gone():
            with contextlib.suppress(RefusedError):  # it is closing already
                await self._session.execute("block-export-del", {"id": handle, "mode": "hard"})
            waited_for = f"the host's file of {handle} to end its requests"
            await self._session.wait_until(
                gone, event="BLOCK_EXPORT_DELETED", timeout_s=GONE_TIMEOUT_S, waited_for=waited_for
            )
        if handle in nodes_in(await self._session.execute("query-named-block-nodes", {"flat": True})):
            await self._session.execute("blockdev-del", {"node-name": handle})

    def _slot_file(self, slot: int) -> Path:
        return self._directory / SLOTS / f"{slot}.json"

    def _records(self) -> tuple[_Record, ...]:
        files = sorted((self._directory / SLOTS).glob("*.json"))
        return tuple(msgspec.json.decode(file.read_bytes(), type=_Record) for file in files)

    def _note(self, record: _Record) -> None:
        """Write a slot's record whole or not at all; not for ever: no slot outlives the host's power."""
        file = self._slot_file(record.slot)
        half = file.with_suffix(".new")
        half.write_bytes(msgspec.json.encode(record))
        half.replace(file)


async def _idle(path: Path, timeout_s: float) -> bool:
    """Whether nothing uses the file, now or before the time is over; one that vanishes is not used."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    with contextlib.suppress(OSError):
        while mountpoints.in_use(path):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(ASK_AGAIN_S)
    return True


@contextlib.contextmanager
def _files(path: Path) -> Iterator[None]:
    """What the file system refuses, as an error that says where."""
    try:
        yield
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        remedy = "look at the folder of the bus, its owner and its room"
        raise DpuError(Reason.UNAVAILABLE, message, field="bus.directory", remedy=remedy) from error


async def _read_past_cache(path: Path) -> None:
    """One direct read: the request at which the host's NBD client reconnects."""

    def read() -> None:
        opened = os.open(path, os.O_RDONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, mmap.PAGESIZE) as page:
                os.preadv(opened, [page], 0)
        finally:
            os.close(opened)

    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            await asyncio.to_thread(read)
    except (OSError, TimeoutError) as error:
        message = f"{path} does not answer a read: {str(error) or 'no answer'}"
        raise DpuError(Reason.UNAVAILABLE, message, remedy="look whether the DPU serves the disk") from error


def _node(record: _Record, nbd_socket: str) -> dict[str, Any]:
    return {
        "driver": "nbd",
        "node-name": record.handle,
        "server": {"type": "unix", "path": nbd_socket},
        "export": record.handle,
        "read-only": record.read_only,
        "discard": "unmap",
        "reconnect-delay": RECONNECT_DELAY_S,
        "open-timeout": OPEN_TIMEOUT_S,
    }


def _record(function: FunctionSeen) -> _Record:
    return _Record(
        slot=function.slot,
        handle=function.handle,
        protocol=function.protocol,
        serial=function.serial,
        nguid=function.nguid,
        read_only=function.read_only,
        boot_order=function.boot_order,
    )


def _seen(record: _Record) -> FunctionSeen:
    return FunctionSeen(
        slot=record.slot,
        handle=record.handle,
        protocol=record.protocol,
        serial=record.serial,
        nguid=record.nguid,
        read_only=record.read_only,
        boot_order=record.boot_order,
        present=True,
    )
