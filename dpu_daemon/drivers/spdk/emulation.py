"""Who makes PCIe functions for the host out of what SPDK shows: one Protocol, and sockets in a directory.

On a card the vendor's emulation manager does it; here a program that runs the host connects to the sockets. Each slot
is a folder: ``DIR/N/cntrl`` is the vfio-user socket of an NVMe function, ``DIR/N/function.json`` says what is in the
slot (for virtio-blk with the path of its vhost-user socket) and is there as long as the host may use it.
"""

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from dpu_daemon.model.disk import DiskProtocol, FunctionSeen
from proto.errors import DpuError
from proto.reasons import Reason

LONGEST_SOCKET_PATH = 107
RECORD = "function.json"
READ_AGAIN_S = 5.0
"""Nobody else writes records; an audit reads them anew all the same, in case somebody removed one."""


class Emulation(Protocol):
    """PCIe functions of one DPU."""

    def functions(self) -> int:
        """How many disk functions there can be."""
        ...

    def grows_live(self, protocol: DiskProtocol) -> bool: ...

    def listener(self, slot: int) -> Mapping[str, Any] | None:
        """Where the front of an NVMe function listens; None where the manager finds the front by its name."""
        ...

    async def clear(self, slot: int) -> None:
        """Makes a slot ready for a front that is about to listen; nothing listens there now."""
        ...

    async def look(self) -> Mapping[int, FunctionSeen]: ...

    async def plug(self, function: FunctionSeen, *, front_socket: str) -> None: ...

    async def ask_back(self, slot: int) -> None:
        """Tells whoever runs the host that the function is to go."""
        ...

    async def unplug(self, slot: int) -> None: ...


class Record(msgspec.Struct, frozen=True):
    """What ``function.json`` says."""

    slot: int
    handle: str
    protocol: DiskProtocol
    serial: str
    nguid: str
    read_only: bool
    boot_order: int
    socket: str
    leaving: bool = False


_Stamp = tuple[int, int]
"""Inode and time of change: each record that is written is a file of its own."""


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


class SocketEmulation:
    """An Emulation of sockets in a directory.

    Args:
        directory: of the slots; made when missing.
        slots: how many.
    """

    def __init__(self, *, directory: Path, slots: int) -> None:
        self._directory = directory
        self._slots = slots
        self._stamps: dict[int, _Stamp] = {}
        self._functions: dict[int, FunctionSeen] = {}
        self._changed: set[int] = set()
        self._read_at = float("-inf")
        longest = len(str(directory / str(slots) / "cntrl"))
        if longest > LONGEST_SOCKET_PATH:
            message = f"{directory} makes socket paths of {longest} bytes, more than {LONGEST_SOCKET_PATH}"
            raise DpuError(Reason.INVALID, message, field="bus.directory", remedy="use a shorter directory")

    def functions(self) -> int:
        return self._slots

    def grows_live(self, protocol: DiskProtocol) -> bool:
        """Both: a namespace changes with its bdev, and a vhost-user client hears of a new capacity."""
        return protocol in DiskProtocol

    def listener(self, slot: int) -> Mapping[str, Any] | None:
        return {"trtype": "VFIOUSER", "traddr": str(self._directory / str(slot))}

    async def clear(self, slot: int) -> None:
        self._clear(slot)

    def _clear(self, slot: int) -> None:
        folder = self._directory / str(slot)
        folder.mkdir(parents=True, exist_ok=True)
        cntrl = folder / "cntrl"
        # A killed SPDK leaves its socket, and refuses to listen on it later.
        if cntrl.is_socket():
            cntrl.unlink(missing_ok=True)

    async def look(self) -> Mapping[int, FunctionSeen]:
        now = asyncio.get_running_loop().time()
        if now - self._read_at > READ_AGAIN_S:
            self._read_at = now
            self._changed.clear()
            self._take(*await asyncio.to_thread(self._read, dict(self._stamps)))
        return dict(self._functions)

    def _take(self, there: Mapping[int, "_Stamp"], news: Mapping[int, FunctionSeen]) -> None:
        """What was read; slots that changed meanwhile are known better than that."""
        for slot in [slot for slot in self._functions if slot not in there and slot not in self._changed]:
            self._forget(slot)
        for slot, function in news.items():
            if slot not in self._changed:
                self._stamps[slot], self._functions[slot] = there[slot], function

    def _read(self, stamps: Mapping[int, "_Stamp"]) -> tuple[dict[int, "_Stamp"], dict[int, FunctionSeen]]:
        """Stamps of all records, and the records that are not those read before."""
        there: dict[int, _Stamp] = {}
        news: dict[int, FunctionSeen] = {}
        try:
            for slot in range(self._slots):
                path = self._directory / str(slot) / RECORD
                stamp = _stamp(path)
                if stamp is None:
                    continue
                there[slot] = stamp
                if stamps.get(slot) != stamp:
                    news[slot] = _function(msgspec.json.decode(path.read_bytes(), type=Record))
        except (OSError, msgspec.DecodeError) as error:
            message = f"functions in {self._directory} cannot be read: {error}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy=f"remove a {RECORD} that is damaged") from error
        return there, news

    def _forget(self, slot: int) -> None:
        self._stamps.pop(slot, None)
        self._functions.pop(slot, None)

    async def plug(self, function: FunctionSeen, *, front_socket: str) -> None:
        """Publishes what is in the slot.

        Raises:
            DpuError: IN_USE when another disk is in it.
        """
        has = self._record(function.slot)
        if has is not None and has.handle != function.handle:
            message = f"slot {function.slot} has disk {has.handle}"
            raise DpuError(Reason.IN_USE, message, field="slot", remedy="unplug it first")
        nvme = str(self._directory / str(function.slot) / "cntrl")
        self._write(
            Record(
                slot=function.slot,
                handle=function.handle,
                protocol=function.protocol,
                serial=function.serial,
                nguid=function.nguid,
                read_only=function.read_only,
                boot_order=function.boot_order,
                socket=nvme if function.protocol is DiskProtocol.NVME else front_socket,
            )
        )

    def _record(self, slot: int) -> Record | None:
        path = self._directory / str(slot) / RECORD
        try:
            return msgspec.json.decode(path.read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            message = f"{path} cannot be read: {error}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="remove it") from error

    def _write(self, record: Record) -> None:
        """Whole or not at all. Not synced: after a power cut the slots are empty, and are filled from the journal."""
        folder = self._directory / str(record.slot)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, fresh = tempfile.mkstemp(dir=folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(record))
            Path(fresh).replace(folder / RECORD)
            self._changed.add(record.slot)
            self._stamps.pop(record.slot, None)
            self._functions[record.slot] = _function(record)
        except OSError as error:
            message = f"slot {record.slot} cannot be filled: {error}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy=f"look at the rights of {self._directory}") from error

    async def ask_back(self, slot: int) -> None:
        record = self._record(slot)
        if record is not None and not record.leaving:
            self._write(msgspec.structs.replace(record, leaving=True))

    async def unplug(self, slot: int) -> None:
        (self._directory / str(slot) / RECORD).unlink(missing_ok=True)
        self._changed.add(slot)
        self._forget(slot)


def _function(record: Record) -> FunctionSeen:
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
