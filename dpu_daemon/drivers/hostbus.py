"""The lab chassis' PCIe link as a HostBus: newline-delimited JSON-RPC 2.0 on a Unix socket.

Contract: docstring of lab/chassis/pcie.py.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from dpu_daemon.drivers.keeper import Keeper
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.disk import DiskProtocol, FunctionSeen
from dpu_daemon.model.port import NicSeen
from proto.errors import DpuError
from proto.jsonrpc import JsonRpcConnection, JsonRpcError
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

PEER = "the host's chassis"
REMEDY = "look whether the chassis runs and whether its socket is where the configuration says"

CALL_TIMEOUT_S = 8.0
"""A plug waits for QEMU alone, some 100 ms."""

UNPLUG_SLACK_S = 3.0
"""The chassis itself counts the time that the host may take."""

DEFAULT_MTU = 1500
VERSION = "lab-chassis 1"

REASONS = {
    "invalid": Reason.INVALID,
    "in_use": Reason.IN_USE,
    "not_found": Reason.NOT_FOUND,
    "timeout": Reason.DEADLINE,
    "unsupported": Reason.UNSUPPORTED,
    "unavailable": Reason.UNAVAILABLE,
}


class _Disk(msgspec.Struct):
    slot: int
    function_id: str
    protocol: DiskProtocol
    serial: str
    present: bool
    nguid: str = ""
    read_only: bool = False
    boot_order: int = 0
    pci_address: str = ""
    state: str = ""
    backend_cut: bool = False


class _Nic(msgspec.Struct):
    slot: int
    function_id: str
    tap: str
    mac: str
    present: bool
    pci_address: str = ""
    state: str = ""
    backend_cut: bool = False


class _Bus(msgspec.Struct):
    host_power: str
    disk_slots: int
    nic_slots: int
    disks: list[_Disk] = []
    nics: list[_Nic] = []


class _Error(msgspec.Struct):
    message: str
    data: dict[str, Any] = {}


class LabBus:
    """A HostBus.

    Args:
        socket: path of the chassis' Unix socket.
        nbd_socket: path of the Unix socket on which the block layer shows its disks; told to the chassis.
    """

    def __init__(self, *, socket: str, nbd_socket: str) -> None:
        self._socket = socket
        self._nbd_socket = nbd_socket
        self._keeper: Keeper[JsonRpcConnection] = Keeper(PEER, REMEDY, self._dial)
        self._lost: Lost = lambda _: None
        self._slots = (0, 0)
        self._met = False

    async def start(self, lost: Lost) -> None:
        self._lost = lost
        await self._keeper.start(lost)

    async def stop(self) -> None:
        await self._keeper.stop()

    def version(self) -> str:
        return VERSION if self._met else ""

    def disk_slots(self) -> int:
        """Slots for disks; 0 before the first contact."""
        return self._slots[0]

    def nic_slots(self) -> int:
        """Slots for NICs; 0 before the first contact."""
        return self._slots[1]

    def grows_live(self, protocol: DiskProtocol) -> bool:
        """QEMU's NVMe controller never tells its guest of a new size."""
        return protocol is DiskProtocol.VIRTIO_BLK

    async def look_disks(self) -> Mapping[int, FunctionSeen]:
        """Disk functions by slot, without those that were cut off by force: no byte of ours is behind them any more."""
        return {disk.slot: _function(disk) for disk in (await self._look()).disks if not _cut(disk)}

    async def look_nics(self) -> Mapping[int, NicSeen]:
        """NIC functions by VF; the representor of each is its tap."""
        return {nic.slot: _nic(nic) for nic in (await self._look()).nics if not _cut(nic)}

    async def host_is_on(self) -> bool:
        return (await self._look()).host_power == "on"

    async def plug_disk(self, function: FunctionSeen) -> None:
        await self._call(
            "bus.plug_disk",
            {
                "slot": function.slot,
                "function_id": function.handle,
                "protocol": function.protocol.value,
                "nbd_path": self._nbd_socket,
                "export": function.handle,
                "serial": function.serial,
                "nguid": function.nguid,
                "read_only": function.read_only,
                "boot_order": function.boot_order,
            },
        )

    async def unplug_disk(self, slot: int, handle: str, *, timeout_s: float, force: bool) -> None:
        """Takes a disk from the host; another one in that slot is left alone.

        Raises:
            DpuError: DEADLINE when the host does not let go in time and `force` is not given.
        """
        await self._unplug("bus.unplug_disk", slot, handle, timeout_s=timeout_s, force=force)

    async def grow_disk(self, slot: int, size_bytes: int) -> None:
        await self._call("bus.resize_disk", {"slot": slot, "size_bytes": size_bytes})

    async def plug_nic(self, nic: NicSeen, *, mtu: int) -> None:
        await self._call(
            "bus.plug_nic",
            {
                "slot": nic.vf,
                "function_id": nic.port_id,
                "tap": nic.representor,
                "mac": nic.mac,
                "mtu": mtu or DEFAULT_MTU,
            },
        )

    async def unplug_nic(self, vf: int, port_id: str, *, timeout_s: float, force: bool) -> None:
        await self._unplug("bus.unplug_nic", vf, port_id, timeout_s=timeout_s, force=force)

    async def _unplug(self, method: str, slot: int, function_id: str, *, timeout_s: float, force: bool) -> None:
        asked = {"slot": slot, "function_id": function_id, "timeout_s": timeout_s, "force": force}
        await self._call(method, asked, timeout_s=timeout_s + UNPLUG_SLACK_S)

    async def _look(self) -> _Bus:
        return self._read(await self._call("bus.get", {}))

    def _read(self, answer: Any) -> _Bus:
        try:
            bus = msgspec.convert(answer, _Bus)
        except msgspec.ValidationError as error:
            message = f"{PEER} answered what this daemon cannot read: {error}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="run chassis and daemon of one version") from error
        self._slots = (bus.disk_slots, bus.nic_slots)
        self._met = True
        return bus

    async def _call(self, method: str, params: Mapping[str, Any], *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        return await _ask(self._keeper.connection(), method, params, timeout_s)

    async def _dial(self) -> JsonRpcConnection:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        rpc = JsonRpcConnection(reader, writer, peer=PEER, envelope={"jsonrpc": "2.0"}, notified=self._notified)
        try:
            await _ask(rpc, "bus.watch", {}, CALL_TIMEOUT_S)
            self._read(await _ask(rpc, "bus.get", {}, CALL_TIMEOUT_S))
        except BaseException:
            await rpc.close()
            raise
        return rpc

    def _notified(self, method: str, params: Any) -> None:
        """Events are hints; whoever hears of one looks."""
        if method == "bus.event" and isinstance(params, dict):
            details = " ".join(f"{key}={value}" for key, value in params.items() if key != "kind")
            self._lost(f"the host's bus says {params.get('kind', 'something')} {details}".rstrip())


async def _ask(rpc: JsonRpcConnection, method: str, params: Mapping[str, Any], timeout_s: float) -> Any:
    try:
        return await rpc.call(method, dict(params), timeout_s=timeout_s)
    except JsonRpcError as refusal:
        raise _error(method, refusal.error) from refusal


def _error(method: str, told: Any) -> DpuError:
    try:
        error = msgspec.convert(told, _Error)
    except msgspec.ValidationError:
        error = _Error(message=str(told))
    reason = REASONS.get(str(error.data.get("reason")), Reason.INTERNAL)
    return DpuError(
        reason,
        f"{method}: {error.message}",
        field=str(error.data.get("field", "")),
        remedy=str(error.data.get("remedy", "")) or "see the log of the chassis",
    )


def _cut(entry: _Disk | _Nic) -> bool:
    return entry.backend_cut and entry.state == "removing"


def _function(disk: _Disk) -> FunctionSeen:
    return FunctionSeen(
        slot=disk.slot,
        handle=disk.function_id,
        protocol=disk.protocol,
        serial=disk.serial,
        nguid=disk.nguid,
        read_only=disk.read_only,
        boot_order=disk.boot_order,
        present=disk.present,
        pci_address=disk.pci_address,
    )


def _nic(nic: _Nic) -> NicSeen:
    return NicSeen(
        vf=nic.slot,
        port_id=nic.function_id,
        representor=nic.tap,
        mac=nic.mac,
        present=nic.present,
        pci_address=nic.pci_address,
    )
