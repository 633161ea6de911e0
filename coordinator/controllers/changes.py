"""Carries a machine plan's changes out in the API: claims, ledgers, objects, finalizers."""

import asyncio

import msgspec

from coordinator.controllers.context import Context
from coordinator.core.machine.hosts import refusal
from coordinator.core.machine.names import FINALIZER
from coordinator.core.machine.seen import (
    Amend,
    Change,
    Claim,
    Create,
    Delete,
    Finalizer,
    Seen,
    Unclaim,
    WriteLedgers,
)
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.machine import Machine
from proto.errors import DpuError
from proto.reasons import Reason


class Changes:
    """Each kind of change by the call that makes it; all can be repeated."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def apply(self, seen: Seen, changes: tuple[Change, ...]) -> bool:
        """Make all changes, in parallel; whether there were any.

        Raises:
            DpuError: one could not be made; the others were.
        """
        results = await asyncio.gather(*(self._one(seen.machine, change) for change in changes), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return bool(changes)

    async def _one(self, machine: Machine, change: Change) -> None:
        meta = machine.metadata
        match change:
            case Claim():
                await self._claim(machine, change.hosts)
            case Unclaim():
                await self._unclaim(machine, change.host)
            case WriteLedgers():
                await self._write_ledgers(change)
            case Create():
                await self._context.create(change.kind, change.body)
            case Amend():
                await self._amend(machine, change)
            case Delete():
                found = self._context.caches.by_kind[change.kind].get(f"{meta.namespace}/{change.name}")
                uid = found.metadata.uid if found is not None else ""
                await self._context.api.delete(change.kind, change.name, meta.namespace, uid=uid)
            case Finalizer():
                await self._context.set_finalizer(Kind.MACHINE, meta, FINALIZER, present=change.present)

    async def _claim(self, machine: Machine, names: tuple[str, ...]) -> None:
        """Take the first host that is still for it: the API refuses a claim on one that has changed meanwhile.

        The hosts are listed anew first: a claim of ours that this process does not know of must be found, or the
        machine would have two; and a host that was leased to a pool since the choice was made is no longer free.
        """
        meta = machine.metadata
        listed, _ = await self._context.api.list(Kind.HOST)
        for raw in listed:
            self._context.caches.hosts.absorb(raw)
        if self._context.caches.hosts.by("holder", meta.uid):
            return
        claim = {"namespace": meta.namespace, "name": meta.name, "uid": meta.uid}
        for name in names:
            host = self._context.caches.hosts.get(name)
            dpu = self._context.caches.dpus.get(host.spec.dpu_ref.name) if host else None
            if host is None or host.spec.claim_ref is not None or refusal(machine, host, dpu):
                continue
            try:
                await self._context.amend(Kind.HOST, host.metadata, {"spec": {"claimRef": claim}}, exact=True)
            except DpuError as error:
                if error.reason not in {Reason.CONFLICT, Reason.NOT_FOUND}:
                    raise
            else:
                return

    async def _unclaim(self, machine: Machine, name: str) -> None:
        host = self._context.caches.hosts.get(name)
        if host is not None and host.holder == machine.metadata.uid:
            await self._context.amend(Kind.HOST, host.metadata, {"spec": {"claimRef": None}}, exact=True)

    async def _write_ledgers(self, change: WriteLedgers) -> None:
        """Write ledgers, exact to the version that they were made from: nothing is given twice.

        What is given back goes first: after a death in between, no NIC has a line in two subnets.
        """
        for name, lines in sorted(change.ledgers.items(), key=lambda one: (len(one[1]) - self._given(one[0]), one[0])):
            subnet = self._context.caches.subnets.get(name)
            if subnet is None:
                continue
            addresses = self._context.caches.addresses
            new = [line for line in lines if line not in subnet.status.allocations]
            addresses.reserve_lines(subnet, new)
            used = (subnet.status.used or 0) + len(lines) - len(subnet.status.allocations)
            status = msgspec.structs.replace(subnet.status, allocations=list(lines), used=used)
            try:
                await self._context.write_status(Kind.SUBNET, subnet, status)
            except DpuError:
                await self._reread(name)  # whether it was written may be unknown: until it is, the lines stay held
                addresses.restore_lines(name, new)
                raise

    def _given(self, subnet: str) -> int:
        """How many lines a ledger has."""
        found = self._context.caches.subnets.get(subnet)
        return len(found.status.allocations) if found is not None else 0

    async def _reread(self, subnet: str) -> None:
        """Take in a subnet as the API has it now."""
        try:
            self._context.caches.subnets.absorb(await self._context.api.get(Kind.SUBNET, subnet))
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise

    async def _amend(self, machine: Machine, change: Amend) -> None:
        found = self._context.caches.by_kind[change.kind].get(f"{machine.metadata.namespace}/{change.name}")
        if found is not None:
            await self._context.amend(change.kind, found.metadata, change.body)
