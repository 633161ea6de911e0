"""The PCIe link: the Unix socket on which the DPU plugs disks and NICs into its host.

Newline-delimited JSON-RPC 2.0; one object a line, at most 1 MiB. Any number of clients; requests of one client
run side by side and may be answered out of order. The socket is for root alone.

Methods, parameters by name:

``bus.get`` {}
    -> {"host_power": "on"|"off", "disk_slots": N, "nic_slots": N, "disks": [...], "nics": [...]}. Each entry is what
    was plugged, plus "present" (the running host has it; or the host is off and will have it), "state"
    (configured | plugging | present | removing), "pci_address" ("" when not known), "backend_cut" and, for NICs,
    "link_up".
``bus.plug_disk`` {"slot", "function_id", "protocol": "virtio-blk"|"nvme", "nbd_path", "export", "serial",
    "nguid"="", "read_only"=false, "boot_order"=0} -> the entry. The same again changes nothing; anything else in the
    slot, or the same function in another slot: in_use. Host off: taken at the next power-on. boot_order 0 is not
    bootable, 1 is first. The host identifies a disk by its serial, for NVMe too: the hot-pluggable NVMe
    controller has no NGUID of ours.
``bus.plug_nic`` {"slot", "function_id", "tap", "mac", "mtu"=1500} -> the entry.
``bus.unplug_disk``, ``bus.unplug_nic`` {"slot", "function_id", "timeout_s"=10, "force"=false}
    -> {"outcome": "removed"|"absent"|"detached"}. absent: this function is not in this slot. A guest without a
    running operating system never lets go: timeout, and the entry stays in state removing until the guest, a reset
    or power-off lets go; the request need not be repeated. With force the function is then cut from the DPU (the
    disk's I/O fails, the NIC's carrier goes; its NBD connection is closed) and the answer is detached: the export
    may go, the slot stays taken, in state removing.
``bus.resize_disk`` {"slot", "size_bytes"} -> {"size_bytes"}: lets the running host see that the export has grown
    (first grow it and make the export anew under the same name). nvme: unsupported.
``bus.set_link`` {"slot", "up"} -> {}: a NIC's carrier.
``bus.watch`` {} -> {}: from now on this client gets {"method": "bus.event", "params": {"kind": ...}}:
    power {"state": "on"|"off"}, device_deleted {"function": "disk"|"nic", "slot", "function_id"},
    reset {"guest": bool}, qemu_exit {"reason"}. Events are hints; after each, and after a new connection, look
    with bus.get.

Errors carry {"code", "message", "data": {"reason", "field", "remedy"}}, reason one of: invalid, in_use, not_found,
timeout, unsupported, unavailable, internal.

The DPU is the truth: the chassis remembers what was plugged so that its own restart loses nothing, and the DPU
plugs again what it misses.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from lab.chassis.bus import Bus, Presence
from lab.chassis.config import QemuSection
from lab.chassis.host import Host
from lab.chassis.rpc import (
    LINE_LIMIT_BYTES,
    Request,
    SetLink,
    SizeWanted,
    Unplug,
    failure_line,
    parameters,
    parse,
    result_line,
)
from lab.chassis.slots import DiskSpec, Kind, NicSpec
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger()

WATCHER_BACKLOG_BYTES = 1024 * 1024  # a watcher that reads nothing is cut off

Answer = Mapping[str, object]


class Link:
    """Serves the socket."""

    def __init__(self, path: Path, slots: QemuSection, host: Host) -> None:
        self._path = path
        self._slots = slots
        self._host = host
        self._bus: Bus | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._watchers: set[asyncio.StreamWriter] = set()
        self._methods: dict[str, Callable[[Bus, bytes], Awaitable[Answer]]] = {
            "bus.get": self._get,
            "bus.plug_disk": self._plug_disk,
            "bus.plug_nic": self._plug_nic,
            "bus.unplug_disk": self._unplug_disk,
            "bus.unplug_nic": self._unplug_nic,
            "bus.resize_disk": self._resize_disk,
            "bus.set_link": self._set_link,
        }

    async def serve(self, bus: Bus) -> None:
        """Listen; a socket file left by an earlier chassis is replaced."""
        self._bus = bus
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._accept, str(self._path), limit=LINE_LIMIT_BYTES)
        finally:
            os.umask(mask)

    async def close(self) -> None:
        """Stop listening and end every client."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for client in list(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def tell(self, kind: str, details: Mapping[str, Any]) -> None:
        """Send an event to every watcher."""
        line = msgspec.json.encode({"jsonrpc": "2.0", "method": "bus.event", "params": {"kind": kind, **details}})
        for writer in list(self._watchers):
            if writer.transport.get_write_buffer_size() > WATCHER_BACKLOG_BYTES:
                log.warning("a watcher that does not read is cut off")
                self._watchers.discard(writer)
                writer.transport.abort()
            else:
                writer.write(line + b"\n")

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        requests: set[asyncio.Task[None]] = set()
        try:
            if allowed(writer.get_extra_info("socket")):
                await self._read(reader, writer, requests)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client went, or we close
        finally:
            self._watchers.discard(writer)
            for request in requests:
                request.cancel()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: set[asyncio.Task[None]]
    ) -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:  # longer than the limit
                failure = DpuError(Reason.INVALID, f"a line is longer than {LINE_LIMIT_BYTES} bytes")
                writer.write(failure_line(None, failure))
                return
            if not line:
                return
            request = asyncio.create_task(self._serve_line(line, writer))
            requests.add(request)
            request.add_done_callback(requests.discard)

    async def _serve_line(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        identity: int | str | None = None
        try:
            request = parse(line)
            identity = request.id
            answer = result_line(identity, await self._run(request, writer))
        except DpuError as failure:
            answer = failure_line(identity, failure)
        if not writer.is_closing():
            writer.write(answer)
            with contextlib.suppress(ConnectionError):
                await writer.drain()

    async def _run(self, request: Request, writer: asyncio.StreamWriter) -> Answer:
        if request.method == "bus.watch":
            self._watchers.add(writer)
            return {}
        method = self._methods.get(request.method)
        if method is None or self._bus is None:
            raise DpuError(Reason.UNSUPPORTED, f"there is no method {request.method}", field="method")
        return await method(self._bus, bytes(request.params))

    async def _get(self, bus: Bus, _: bytes) -> Answer:
        presences = await bus.presences()
        return {
            "host_power": "on" if self._host.is_on else "off",
            "disk_slots": self._slots.disk_slots,
            "nic_slots": self._slots.nic_slots,
            "disks": [entry(presence) for presence in presences if presence.function.disk],
            "nics": [entry(presence) for presence in presences if presence.function.nic],
        }

    async def _plug_disk(self, bus: Bus, params: bytes) -> Answer:
        return entry(await bus.plug(parameters(params, DiskSpec)))

    async def _plug_nic(self, bus: Bus, params: bytes) -> Answer:
        return entry(await bus.plug(parameters(params, NicSpec)))

    async def _unplug_disk(self, bus: Bus, params: bytes) -> Answer:
        return await self._unplug(bus, Kind.DISK, parameters(params, Unplug))

    async def _unplug_nic(self, bus: Bus, params: bytes) -> Answer:
        return await self._unplug(bus, Kind.NIC, parameters(params, Unplug))

    async def _unplug(self, bus: Bus, kind: Kind, asked: Unplug) -> Answer:
        outcome = await bus.unplug(kind, asked.slot, asked.function_id, asked.timeout_s, force=asked.force)
        return {"outcome": outcome.value}

    async def _resize_disk(self, bus: Bus, params: bytes) -> Answer:
        asked = parameters(params, SizeWanted)
        return {"size_bytes": await bus.resize(asked.slot, asked.size_bytes)}

    async def _set_link(self, bus: Bus, params: bytes) -> Answer:
        asked = parameters(params, SetLink)
        await bus.set_link(asked.slot, up=asked.up)
        return {}


def entry(presence: Presence) -> Answer:
    """A slot as the link tells it."""
    function = presence.function
    told: dict[str, object] = msgspec.to_builtins(function.plugged)
    told |= {"present": presence.present, "state": presence.state.value, "pci_address": presence.pci_address}
    told["backend_cut"] = function.backend_cut
    return told if function.disk else told | {"link_up": function.link_up}


def allowed(peer: socket.socket) -> bool:
    """Whether the peer is root or the user that this process runs as."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return uid in {0, os.geteuid()}
