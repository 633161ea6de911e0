"""How far the host has booted, judged from outside: by whether a bootable disk has been read."""

from lab.chassis.host import Host
from lab.chassis.record import State
from lab.chassis.slots import backend_name
from proto.errors import DpuError

OFF = "None"
FIRMWARE = "PrimaryProcessorInitializationStarted"
BOOTING = "OSBootStarted"


async def boot_progress(host: Host, state: State) -> str:
    """Redfish's BootProgress.LastState. OSRunning is never claimed: only the machine's answer proves that.

    The count of reads goes on over a reset, so that after one the state stays at OSBootStarted.
    """
    if not host.is_on:
        return OFF
    bootable = {backend_name(disk.disk) for disk in state.disks.values() if disk.disk and disk.disk.boot_order}
    try:
        disks = await host.monitor.execute("query-blockstats")
    except DpuError:
        return FIRMWARE if host.is_on else OFF
    read = any(disk.get("node-name") in bootable and disk["stats"]["rd_operations"] for disk in disks)
    return BOOTING if read else FIRMWARE
