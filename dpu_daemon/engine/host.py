"""The engine of a host: CPUs and sizes of its pods, and what they use."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.core import Core, Slots
from dpu_daemon.engine.host_cpus import HostCpus
from dpu_daemon.engine.host_protocols import GroupDriver, Sampler
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.protocols import Driver, Lost
from dpu_daemon.engine.repair import Auditor
from dpu_daemon.engine.usage import UsageMonitor
from dpu_daemon.engine.vfs import VfPool, VfSources

if TYPE_CHECKING:
    from dpu_daemon.engine.node_network import CniDrivers, NodeNetwork


@dataclass(frozen=True, slots=True)
class HostDrivers:
    """What the engine of a host works with."""

    groups: GroupDriver
    sampler: Sampler
    vfs: VfSources | None = None
    cni: "CniDrivers | None" = None


class HostEngine:
    """All that a host's daemon does: CPUs of its pods, their networks, its pool of virtual functions.

    Args:
        ledger: loaded.
        groups: the kernel's.
        sampler: of the same groups.
        times: of the audits.
        vfs: what tells of virtual functions; None where pods get none.
        cni: what pods' networks stand on; None where another plug-in serves them.
    """

    def __init__(
        self,
        ledger: Ledger,
        groups: GroupDriver,
        sampler: Sampler,
        times: AuditTimes | None = None,
        vfs: VfSources | None = None,
        cni: "CniDrivers | None" = None,
    ) -> None:
        operations = Operations()
        self.groups = groups
        self.cpus = HostCpus(ledger, operations, groups)
        self.usage = UsageMonitor(groups, sampler, asyncio.get_running_loop().time)
        self.vfs = VfPool(ledger, vfs, asyncio.get_running_loop().time) if vfs else None
        drivers: dict[str, Driver] = {"groups": _Watched(groups, self.usage)}
        if self.vfs is not None:
            drivers["vfs"] = self.vfs
        self.network = _network(ledger, operations, cni, self.vfs)
        auditors: tuple[Auditor, ...] = (self.cpus,)
        if self.network is not None:
            drivers |= self.network.drivers
            auditors = (*self.network.auditors, *auditors)
        workers = self.network.workers if self.network is not None else {}
        self.core = Core(ledger, operations, drivers, auditors, self.cpus.tidy, times or AuditTimes(), workers=workers)

    @staticmethod
    async def open(
        journal: Journal,
        groups: GroupDriver,
        sampler: Sampler,
        times: AuditTimes | None = None,
        vfs: VfSources | None = None,
        cni: "CniDrivers | None" = None,
    ) -> "HostEngine":
        """An engine that has read its journal; call `core.start` to let it work."""
        ledger = Ledger(journal)
        await ledger.load()
        return HostEngine(ledger, groups, sampler, times, vfs, cni)

    def census(self) -> Iterator[tuple[str, str]]:
        """Kind of every wanted thing, and whether it was whole once."""
        bindings = self.core.ledger.bindings
        for _ in bindings.bindings if bindings else ():
            yield "binding", "established"
        for change in self.core.ledger.sizes.values():
            yield "resize", "established" if change.settled else "coming"
        if self.network is not None:
            for state in self.network.cni.census():
                yield "sandbox", state

    def slots(self) -> Slots:
        """A host has no functions of its own to give."""
        return Slots()


def _network(
    ledger: Ledger, operations: Operations, cni: "CniDrivers | None", vfs: VfPool | None
) -> "NodeNetwork | None":
    """CNI; a host whose pods have another plug-in does not even load it."""
    if cni is None:
        return None
    from dpu_daemon.engine.node_network import node_network  # noqa: PLC0415

    return node_network(ledger, operations, cni, vfs)


class _Watched:
    """The groups' driver, whose alarms also tell the monitor to look for new groups."""

    def __init__(self, groups: GroupDriver, usage: UsageMonitor) -> None:
        self._groups, self._usage = groups, usage

    async def start(self, lost: Lost) -> None:
        def alarm(sentence: str) -> None:
            self._usage.groups_changed()
            lost(sentence)

        await self._groups.start(alarm)
        self._usage.start()

    async def stop(self) -> None:
        await self._usage.stop()
        await self._groups.stop()

    def version(self) -> str:
        return self._groups.version()
