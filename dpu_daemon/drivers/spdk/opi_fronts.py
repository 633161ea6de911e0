"""What OPI clients show to hosts: NVMe subsystems on fabrics and PCIe functions, and virtio-blk disks."""

import ipaddress
from collections.abc import Awaitable
from typing import Any

from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.emulation import Emulation
from dpu_daemon.drivers.spdk.opi_errors import attempt, refused
from dpu_daemon.drivers.spdk.opi_look import opi_look
from dpu_daemon.drivers.spdk.opi_remotes import OpiRemotes
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.model.disk import DiskProtocol, FunctionSeen
from dpu_daemon.model.opi import Namespace, PciFunction, Subsystem, Transport, VirtioBlk
from dpu_daemon.model.opi_seen import Listener, OpiSeen, SubsystemSeen
from proto.errors import DpuError
from proto.reasons import Reason

DELETE_TIMEOUT_S = 8.0
REMEDY = "look at SPDK's log"


class OpiFronts:
    """Fronts of one SPDK process that OPI clients made.

    Args:
        rpc: the process.
        emulation: makes PCIe functions of fronts.
        remotes: puts keys into the keyring.
    """

    def __init__(self, rpc: SpdkRpc, emulation: Emulation, remotes: OpiRemotes) -> None:
        self._rpc = rpc
        self._emulation = emulation
        self._remotes = remotes

    async def make_subsystem(self, subsystem: Subsystem) -> None:
        """Make it without hosts; one of that name that is there stays."""
        params = {
            "nqn": subsystem.nqn,
            "serial_number": subsystem.serial_number,
            "model_number": subsystem.model_number,
            "max_namespaces": subsystem.max_namespaces,
            "allow_any_host": False,
        }
        call = self._rpc.call("nvmf_create_subsystem", params)
        await attempt(call, lambda: self._has(subsystem.nqn), field="spec.nqn", remedy="choose another NQN")

    async def remove_subsystem(self, nqn: str) -> None:
        """Remove it with its connections; gone is fine."""
        call = self._rpc.call("nvmf_delete_subsystem", {"nqn": nqn}, timeout_s=DELETE_TIMEOUT_S)

        async def gone() -> bool:
            return not await self._has(nqn)

        await attempt(call, gone, field="name", remedy="repeat the call")

    async def admit_host(self, subsystem: Subsystem, host: str) -> None:
        """Let one host connect, with its key where there is one; or every host."""
        anybody = {"nqn": subsystem.nqn, "allow_any_host": not host}
        await self._tried(self._rpc.call("nvmf_subsystem_allow_any_host", anybody), "spec.hostnqn")
        if not host:
            return
        params: dict[str, Any] = {"nqn": subsystem.nqn, "host": host}
        if subsystem.psk:
            params["psk"] = await self._remotes.add_key(subsystem.psk)

        async def admitted() -> bool:
            there = await self._seen(subsystem.nqn)
            return there is not None and host in there.hosts

        call = self._rpc.call("nvmf_subsystem_add_host", params)
        await attempt(call, admitted, field="spec.hostnqn", remedy="look at the host's NQN and key")

    async def expel_host(self, nqn: str, host: str) -> None:
        """Let a host connect no more."""

        async def expelled() -> bool:
            there = await self._seen(nqn)
            return there is None or host not in there.hosts

        call = self._rpc.call("nvmf_subsystem_remove_host", {"nqn": nqn, "host": host}, timeout_s=DELETE_TIMEOUT_S)
        await attempt(call, expelled, field="spec.hostnqn", remedy="repeat the call")

    async def listen(self, subsystem: Subsystem, listener: Listener) -> None:
        """Show a subsystem; for a PCIe function the host's bus shows it then, too.

        Raises:
            DpuError: UNSUPPORTED or EXHAUSTED for a function that this DPU has not; INVALID for an address that cannot
                be had.
        """
        slot = self._slot(listener)
        address = await self._address(listener, slot)
        await self._make_transport(address["trtype"])
        params: dict[str, Any] = {"nqn": subsystem.nqn, "listen_address": address}
        if subsystem.psk:
            params["secure_channel"] = True
        if not await self._listens(subsystem.nqn, listener):
            if slot is not None:
                await self._emulation.clear(slot)
            call = self._rpc.call("nvmf_subsystem_add_listener", params)
            field, remedy = "spec.endpoint", "use an address of this DPU, and a port that is free"
            await attempt(call, lambda: self._listens(subsystem.nqn, listener), field=field, remedy=remedy)
        if slot is not None:
            function = _function(slot, listener.trsvcid, DiskProtocol.NVME, subsystem.serial_number)
            await self._emulation.plug(function, front_socket="")

    async def stop_listening(self, nqn: str, listener: Listener) -> None:
        """Show a subsystem no more; gone is fine."""
        slot = self._slot(listener)
        if slot is not None:
            await self._unplug(listener.trsvcid)
        params = {"nqn": nqn, "listen_address": await self._address(listener, slot)}

        async def silent() -> bool:
            return not await self._listens(nqn, listener)

        call = self._rpc.call("nvmf_subsystem_remove_listener", params)
        await attempt(call, silent, field="name", remedy="repeat the call")

    def _slot(self, listener: Listener) -> int | None:
        if listener.trtype is not Transport.PCIE:
            return None
        port, physical, virtual = (int(part) for part in listener.traddr.split("/"))
        return self.slot_of(PciFunction(port_id=port, physical_function=physical, virtual_function=virtual))

    def slot_of(self, function: PciFunction) -> int:
        """The slot of a function.

        Raises:
            DpuError: UNSUPPORTED or EXHAUSTED naming what this DPU has.
        """
        count = self._emulation.functions()
        if function.port_id or function.virtual_function:
            message = f"{function}: this DPU's disks are physical functions of port 0"
            raise DpuError(Reason.UNSUPPORTED, message, field="pcie_id", remedy="use port 0, virtual function 0")
        if function.physical_function >= count:
            message = f"{function}: this DPU has {count} disk functions"
            raise DpuError(Reason.EXHAUSTED, message, field="pcie_id", remedy=f"use a function below {count}")
        return function.physical_function

    async def _address(self, listener: Listener, slot: int | None) -> dict[str, str]:
        if slot is not None:
            found = self._emulation.listener(slot)
            if found is None:
                message = "this DPU's emulation manager makes functions of attachments alone"
                raise DpuError(Reason.UNSUPPORTED, message, field="pcie_id", remedy="use dpu.v1.StorageService")
            return dict(found)
        family = f"IPv{ipaddress.ip_address(listener.traddr).version}"
        trtype = listener.trtype.name
        return {"trtype": trtype, "adrfam": family, "traddr": listener.traddr, "trsvcid": listener.trsvcid}

    async def _make_transport(self, trtype: str) -> None:
        async def there() -> bool:
            have = await self._rpc.call("nvmf_get_transports", of=list[dict[str, object]])
            return any(transport.get("trtype") == trtype for transport in have)

        if not await there():
            call = self._rpc.call("nvmf_create_transport", {"trtype": trtype})
            await attempt(call, there, field="spec.trtype", remedy="use a transport that this SPDK has")

    async def add_namespace(self, nqn: str, bdev: str, namespace: Namespace) -> None:
        """Show a block device in a subsystem."""
        params: dict[str, Any] = {
            "nsid": namespace.host_nsid,
            "bdev_name": bdev,
            "nguid": namespace.nguid.upper(),
            "uuid": namespace.uuid,
        }
        if namespace.eui64:
            params["eui64"] = f"{namespace.eui64 & (1 << 64) - 1:016X}"

        async def there() -> bool:
            subsystem = await self._seen(nqn)
            found = subsystem.namespaces.get(namespace.host_nsid) if subsystem else None
            return found is not None and found.bdev == bdev

        call = self._rpc.call("nvmf_subsystem_add_ns", {"nqn": nqn, "namespace": params})
        await attempt(call, there, field="spec.volume_name_ref", remedy="see whether somebody else uses the volume")

    async def remove_namespace(self, nqn: str, nsid: int) -> None:
        """Take a namespace from the host; gone is fine."""

        async def gone() -> bool:
            subsystem = await self._seen(nqn)
            return subsystem is None or nsid not in subsystem.namespaces

        call = self._rpc.call("nvmf_subsystem_remove_ns", {"nqn": nqn, "nsid": nsid})
        await attempt(call, gone, field="name", remedy="repeat the call")

    async def make_virtio_blk(self, handle: str, disk: VirtioBlk, bdev: str) -> None:
        """Make a vhost-user-blk device and show it in its slot; one that is there stays."""
        slot = self.slot_of(disk.pcie_id)

        async def there() -> bool:
            return handle in (await self._look()).virtio_blks

        if not await there():
            call = self._rpc.call("vhost_create_blk_controller", {"ctrlr": handle, "dev_name": bdev})
            await attempt(call, there, field="volume_name_ref", remedy="see whether somebody else uses the volume")
        await self._emulation.plug(
            _function(slot, handle, DiskProtocol.VIRTIO_BLK, bdev), front_socket=await self._socket_of(handle)
        )

    async def remove_virtio_blk(self, handle: str) -> None:
        """Remove a device that no host has open; gone is fine.

        Raises:
            DpuError: IN_USE while a host has it open: SPDK would neither refuse nor answer.
        """
        there = (await self._look()).virtio_blks.get(handle)
        if there is not None and there.connected:
            message = "the disk is open in the host"
            raise DpuError(Reason.IN_USE, message, field="name", remedy="unplug it in the host first")
        await self._unplug(handle)

        async def gone() -> bool:
            return handle not in (await self._look()).virtio_blks

        if there is not None:
            call = self._rpc.call("vhost_delete_controller", {"ctrlr": handle}, timeout_s=DELETE_TIMEOUT_S)
            await attempt(call, gone, field="name", remedy="repeat the call")

    async def _unplug(self, handle: str) -> None:
        for slot, function in (await self._emulation.look()).items():
            if function.handle == handle:
                await self._emulation.unplug(slot)

    async def _socket_of(self, handle: str) -> str:
        listed = await self._rpc.call("vhost_get_controllers", of=list[dict[str, Any]])
        return str(next((each.get("socket", "") for each in listed if each.get("ctrlr") == handle), ""))

    async def _look(self) -> OpiSeen:
        return await opi_look(self._rpc, self._emulation)

    async def _seen(self, nqn: str) -> SubsystemSeen | None:
        return (await self._look()).subsystems.get(nqn)

    async def _has(self, nqn: str) -> bool:
        return await self._seen(nqn) is not None

    async def _listens(self, nqn: str, listener: Listener) -> bool:
        there = await self._seen(nqn)
        where = (listener.trtype, listener.traddr)
        if there is None:
            return False
        if listener.trtype is Transport.PCIE:
            return any((each.trtype, each.traddr) == where for each in there.listeners)
        return listener in there.listeners

    async def _tried(self, call: Awaitable[object], field: str) -> None:
        try:
            await call
        except SpdkError as error:
            raise refused(error, field=field, remedy=REMEDY) from error


def _function(slot: int, handle: str, protocol: DiskProtocol, serial: str) -> FunctionSeen:
    return FunctionSeen(
        slot=slot,
        handle=handle,
        protocol=protocol,
        serial=serial,
        nguid="",
        read_only=False,
        boot_order=0,
        present=True,
    )
