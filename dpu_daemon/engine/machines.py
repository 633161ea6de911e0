"""Machines: everything that one of them has on this DPU, and its release between tenants."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.disks import Disks
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.ports import Ports
from dpu_daemon.engine.seeds import Seeds
from dpu_daemon.model.disk import SeedFile
from proto.errors import DpuError


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    """What a machine has here."""

    machine_id: str
    attachment_ids: tuple[str, ...]
    port_ids: tuple[str, ...]
    seed_present: bool


class Machines:
    """Disks, ports and seeds seen by machine.

    Args:
        ledger: what is wanted.
        disks: of the host.
        ports: of the host.
        seeds: of the host.
    """

    def __init__(self, ledger: Ledger, disks: Disks, ports: Ports, seeds: Seeds) -> None:
        self._ledger = ledger
        self._disks = disks
        self._ports = ports
        self._seeds = seeds

    def view(self, machine_id: str) -> MachineView:
        """Everything of a machine; a machine that nothing here belongs to has nothing, which is no error."""
        disks = self._ledger.attachments.values()
        return MachineView(
            machine_id=machine_id,
            attachment_ids=tuple(
                sorted(
                    disk.attachment_id
                    for disk in disks
                    if disk.spec.machine_id == machine_id and not isinstance(disk.spec.source, SeedFile)
                )
            ),
            port_ids=tuple(
                sorted(port.port_id for port in self._ledger.ports.values() if port.spec.machine_id == machine_id)
            ),
            seed_present=machine_id in self._ledger.seeds,
        )

    async def release(self, machine_id: str, generation: int, deadline: Deadline, *, force: bool) -> tuple[str, ...]:
        """Take away everything that a machine had here; one sentence per thing.

        Args:
            machine_id: of the machine.
            generation: closes the machine's seed fence; a seed of a higher one stays.
            deadline: of the caller.
            force: do not wait for the host to let go.

        Raises:
            DpuError: the first of the errors, after all the rest has been tried.
        """
        has = self.view(machine_id)
        work: list[Awaitable[str]] = []
        for attachment_id in has.attachment_ids:
            height = self._ledger.attachments[attachment_id].generation
            work.append(self._disks.detach(attachment_id, height, deadline, force=force))
        for port_id in has.port_ids:
            height = self._ledger.ports[port_id].generation
            work.append(self._ports.unplug(port_id, height, deadline, force=force))
        if has.seed_present:
            work.append(self._seeds.delete(machine_id, generation, deadline, force=force))
        results = await asyncio.gather(*work, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, DpuError):
                raise result
        for result in results:
            if isinstance(result, DpuError):
                raise result
        return tuple(result for result in results if isinstance(result, str))
