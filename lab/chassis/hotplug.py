"""Single acts on the running host's PCIe functions. Each looks first where QEMU's answers cannot be trusted."""

import asyncio
import contextlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from lab.chassis.command import CD_DEVICE, LAST_INDEX, Boot, backend_arguments, cd_index, device_arguments
from lab.chassis.monitor import CommandRefusedError, Monitor
from lab.chassis.record import BootTarget
from lab.chassis.slots import DiskSpec, FunctionSpec, Kind, NicSpec, backend_name, device_name
from proto.errors import DpuError
from proto.reasons import Reason

# NBD protocol, fixed newstyle: magic, magic, flags; the client says its flags and that it leaves (NBD_OPT_ABORT).
NBD_GREETING_BYTES = 18
NBD_GOODBYE = struct.pack(">I8sII", 3, b"IHAVEOPT", 2, 0)

NEVER_BOOTED = -1
RELEASE_TIMEOUT_S = 5.0  # a device that is gone still holds its node for an instant


@dataclass(frozen=True)
class Sight:
    """What the running QEMU has.

    Attributes:
        devices: name of a PCIe function to its address, such as ``0000:03:00.0``; empty until firmware gave it one.
        nodes: block nodes, name to size in bytes.
    """

    devices: Mapping[str, str]
    nodes: Mapping[str, int]


async def look(monitor: Monitor) -> Sight:
    """See what is plugged."""
    named = await monitor.execute("qom-list", {"path": "/machine/peripheral"})
    buses = await monitor.execute("query-pci")
    nodes = await monitor.execute("query-named-block-nodes", {"flat": True})
    addresses = {name: address for bus in buses for name, address in named_functions(bus["devices"])}
    return Sight(
        devices={
            child["name"]: addresses.get(child["name"], "") for child in named if child["type"].startswith("child")
        },
        nodes={node["node-name"]: node["image"]["virtual-size"] for node in nodes if "node-name" in node},
    )


def named_functions(devices: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Names and addresses in an answer of query-pci, bridges walked through."""
    for device in devices:
        if device.get("qdev_id"):
            yield device["qdev_id"], f"0000:{device['bus']:02x}:{device['slot']:02x}.{device['function']}"
        yield from named_functions(device.get("pci_bridge", {}).get("devices", []))


async def insert(monitor: Monitor, spec: FunctionSpec) -> str:
    """Hot-plug a function and see that it is there; returns its PCI address.

    Raises:
        DpuError: when QEMU refuses; nothing of it is left then.
    """
    seen = await look(monitor)
    name = device_name(spec)
    if name in seen.devices:
        return seen.devices[name]
    option, back_end = backend_arguments(spec)
    if isinstance(spec, NicSpec):
        await remove_backend(monitor, spec)  # network back ends cannot be listed; a left-over one is made anew
    try:
        if backend_name(spec) not in seen.nodes:
            await monitor.execute("blockdev-add" if option == "blockdev" else "netdev_add", back_end)
        await monitor.execute("device_add", device_arguments(spec))
    except CommandRefusedError as refusal:
        seen = await look(monitor)
        if name not in seen.devices:
            await remove_backend(monitor, spec)
            raise _explained(spec, refusal) from refusal
    seen = await look(monitor)
    if name not in seen.devices:
        raise DpuError(Reason.INTERNAL, f"{name} was accepted by QEMU and is not there", remedy="power-cycle the host")
    return seen.devices[name]


def _explained(spec: FunctionSpec, refusal: CommandRefusedError) -> DpuError:
    if isinstance(spec, DiskSpec):
        remedy = f"see that {spec.nbd_path} serves the export {spec.export}"
    else:
        remedy = f"see that the tap {spec.tap} exists where QEMU runs, and that nobody else has it open"
    return DpuError(Reason.UNAVAILABLE, refusal.message, remedy=remedy)


async def ask_removal(monitor: Monitor, name: str) -> None:
    """Ask the guest to let go of a device; DEVICE_DELETED tells when it has, which may be never."""
    try:
        await monitor.execute("device_del", {"id": name})
    except CommandRefusedError as refusal:
        # Refused while an earlier request is pending, or because it is gone: the caller's next look tells which.
        if refusal.error_class != "DeviceNotFound" and name not in (await look(monitor)).devices:
            raise


async def remove_backend(monitor: Monitor, spec: FunctionSpec) -> None:
    """Remove the back end of a device that is gone; an absent one is fine.

    Raises:
        DpuError: when it is still held after a few seconds.
    """
    await remove_named_backend(monitor, spec.kind, backend_name(spec))


async def remove_named_backend(monitor: Monitor, kind: Kind, name: str) -> None:
    """As remove_backend, for a function of which only the name is known."""
    if kind is Kind.NIC:
        with contextlib.suppress(CommandRefusedError):  # absent: there is no way to look first
            await monitor.execute("netdev_del", {"id": name})
        return
    patience = AsyncRetrying(
        retry=retry_if_exception_type(CommandRefusedError),
        stop=stop_after_delay(RELEASE_TIMEOUT_S),
        wait=wait_fixed(0.05),
        reraise=True,
    )
    async for attempt in patience:
        with attempt:
            if name in (await look(monitor)).nodes:
                await monitor.execute("blockdev-del", {"node-name": name})


async def cut_backend(monitor: Monitor, spec: FunctionSpec) -> None:
    """Sever a function from the DPU although the guest holds it: the disk's I/O fails, the NIC loses its carrier."""
    if isinstance(spec, NicSpec):
        await monitor.execute("set_link", {"name": device_name(spec), "up": False})
        return
    node = {"type": "block-node", "node-name": backend_name(spec)}
    if node in await monitor.execute("query-yank"):
        await monitor.execute("yank", {"instances": [node]})


async def restore_boot_order(monitor: Monitor, boot: Boot) -> None:
    """Undo a boot override for the next reset, the guest's own too; the boot under way has read its order already."""
    nics = [function.plugged for function in boot.functions if function.nic]
    if boot.target is BootTarget.PXE:
        for nic in nics:
            await _set_boot_index(monitor, device_name(nic), NEVER_BOOTED)
    if cd_index(boot.target) != cd_index(BootTarget.NONE):  # QEMU refuses an index that is the device's own already
        await _set_boot_index(monitor, CD_DEVICE, LAST_INDEX)


async def _set_boot_index(monitor: Monitor, name: str, index: int) -> None:
    await monitor.execute("qom-set", {"path": f"/machine/peripheral/{name}", "property": "bootindex", "value": index})


async def grow(monitor: Monitor, spec: DiskSpec, size_bytes: int) -> int:
    """Let the guest see that its disk's export has grown; returns the size it sees.

    Raises:
        DpuError: UNAVAILABLE when the DPU does not serve the new size, INVALID for a smaller one.
    """
    node = backend_name(spec)
    await _knock(spec)
    before = (await look(monitor)).nodes.get(node)
    if before is None:
        raise DpuError(Reason.UNAVAILABLE, f"disk slot {spec.slot} has no back end", remedy="plug it again")
    if size_bytes < before:
        raise DpuError(Reason.INVALID, f"{size_bytes} is less than the {before} bytes it has", field="size_bytes")
    # The NBD client learns a new size only when it reconnects, and reconnects only on a request.
    await monitor.human(f'qemu-io {node} "read 0 512"')
    try:
        await monitor.execute("block_resize", {"node-name": node, "size": size_bytes})
    except CommandRefusedError as refusal:
        seen = (await look(monitor)).nodes.get(node)
        if seen != size_bytes:
            remedy = "grow the DPU's export and make it anew under the same name, then resize again"
            raise DpuError(Reason.UNAVAILABLE, refusal.message, remedy=remedy) from refusal
    return (await look(monitor)).nodes[node]


async def _knock(spec: DiskSpec) -> None:
    """See that an NBD server answers: a read through a dead socket would stop the whole host for a minute."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_unix_connection(spec.nbd_path)
            try:
                await reader.readexactly(NBD_GREETING_BYTES)
                writer.write(NBD_GOODBYE)
                await writer.drain()
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError) as failure:
        remedy = "wait until the DPU serves the disk again"
        raise DpuError(Reason.UNAVAILABLE, f"no NBD server answers on {spec.nbd_path}", remedy=remedy) from failure
