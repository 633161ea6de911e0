"""Hosts: the BMC polled, health and phase written, claims of machines that are no more taken off."""

import random
import time
from dataclasses import dataclass

import msgspec

from coordinator.clients.model import BmcIdentity
from coordinator.controllers.bmcs import bmc_of
from coordinator.controllers.context import Context
from coordinator.controllers.loop import NEVER, Again
from coordinator.core.conditions import Aspect, Truth, with_condition
from coordinator.core.machine.claims import is_stray, users
from coordinator.core.objects.fleet import BmcAccess, DpuPhase, Host, HostPhase, HostStatus, PowerState
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Condition
from proto.errors import DpuError

UNREACHABLE_POLL_S = 3.0
FINALIZER = "dpupool.io/host"
"""Keeps a host that is deleted in use: its server must be powered off and its DPU told before it is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The last question to a BMC: what failed about it, and when the next one is due (monotonic seconds)."""

    access: BmcAccess
    due: float
    error: DpuError | None


class HostController:
    """Looks at hosts, again and again: a BMC tells nothing by itself."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._looks: dict[str, Look] = {}

    def distrust(self, key: str) -> None:
        """A BMC did not do as it was told: ask it at the next look, whenever it was asked last."""
        self._looks.pop(key, None)

    async def reconcile(self, key: str) -> Again:
        """Look at one host."""
        host = self._context.caches.hosts.get(key)
        if host is None:
            self._looks.pop(key, None)
            return NEVER
        if FINALIZER not in host.metadata.finalizers:
            if host.metadata.deleting:
                return NEVER
            await self._context.set_finalizer(Kind.HOST, host.metadata, FINALIZER, present=True)
            host = self._context.caches.hosts.get(key) or host
        await self._drop_stray_claim(host)
        host = self._context.caches.hosts.get(key) or host
        if host.metadata.deleting and await self._let_go(host):
            return NEVER
        look = self._looks.get(key)
        if look is None or look.access != host.spec.bmc or look.due <= time.monotonic():
            power, identity, error = await self._ask(host)
            usual = self._context.timing.host_poll_s
            pause = min(UNREACHABLE_POLL_S, usual) if error else usual
            pause *= random.uniform(0.9, 1.1)  # noqa: S311  (spreads polls, guards nothing)
            look = Look(access=host.spec.bmc, due=time.monotonic() + pause, error=error)
            await self._write(host, power, identity, error)
            self._looks[key] = look
        else:
            known = BmcIdentity(vendor=host.status.bmc_vendor, system_uuid=host.status.system_uuid)
            await self._write(host, host.status.power_state, known, look.error)
        return Again(after_s=max(look.due - time.monotonic(), 0.01))

    async def _ask(self, host: Host) -> tuple[PowerState, BmcIdentity, DpuError | None]:
        known = BmcIdentity(vendor=host.status.bmc_vendor, system_uuid=host.status.system_uuid)
        try:
            bmc = await bmc_of(self._context, host)
            power = await bmc.power()
            return power, known if known.system_uuid else await bmc.identity(), None
        except DpuError as error:
            return PowerState.UNKNOWN, known, error

    async def _let_go(self, host: Host) -> bool:
        """End a host that is to go, once nobody has it; whether it has ended."""
        holders = users(host, self._context.caches.machines.all())
        if holders:
            says = f"the host stays until machine {', '.join(holders)} is gone: delete that first"
            self._context.events.tell(Kind.HOST, host.metadata, "InUse", says, warning=True)
            return False
        await self._context.set_finalizer(Kind.HOST, host.metadata, FINALIZER, present=False)
        return True

    async def _drop_stray_claim(self, host: Host) -> None:
        claim = host.spec.claim_ref
        if claim is None:
            return
        machine = self._context.caches.machines.get(f"{claim.namespace}/{claim.name}")
        if not is_stray(host, machine):
            return
        there = await self._context.exists(Kind.MACHINE, claim.name, claim.uid, claim.namespace)
        if machine is None and there:
            return
        await self._context.amend(Kind.HOST, host.metadata, {"spec": {"claimRef": None}}, exact=True)
        says = f"the claim of machine {claim.namespace}/{claim.name} was taken off: it does not hold this host"
        self._context.events.tell(Kind.HOST, host.metadata, "StrayClaim", says, warning=True)

    async def _write(self, host: Host, power: PowerState, identity: BmcIdentity, error: DpuError | None) -> None:
        status = self.judge(host, power, identity, error)
        if await self._context.write_status(Kind.HOST, host, status) and status.phase is not host.status.phase:
            told = next(entry for entry in status.conditions if entry.type == Aspect.READY.value)
            warning = status.phase is HostPhase.UNHEALTHY
            self._context.events.tell(Kind.HOST, host.metadata, status.phase.value, told.message, warning=warning)

    def judge(self, host: Host, power: PowerState, identity: BmcIdentity, error: DpuError | None) -> HostStatus:
        """The status that a look at a host makes."""
        dpu = self._context.caches.dpus.get(host.spec.dpu_ref.name)
        dpu_says = ""
        if dpu is None:
            dpu_says = f"DPU {host.spec.dpu_ref.name} (spec.dpuRef.name) is not registered: create the Dpu object"
        elif dpu.status.phase is DpuPhase.OFFLINE:
            dpu_says = f"DPU {dpu.metadata.name} is offline: `kubectl describe dpu {dpu.metadata.name}` says more"
        trouble = str(error) if error else dpu_says
        reason = error.reason.value if error else "DpuOffline"
        phase = HostPhase.UNHEALTHY if trouble else self._holding(host)
        conditions = self._condition(
            host, host.status.conditions, Aspect.BMC_REACHABLE, error.reason.value if error else "", str(error or "")
        )
        conditions = self._condition(host, conditions, Aspect.DPU_ONLINE, "DpuOffline" if dpu_says else "", dpu_says)
        conditions = self._condition(host, conditions, Aspect.READY, reason if trouble else "", trouble)
        return msgspec.structs.replace(
            host.status,
            observed_generation=host.metadata.generation,
            phase=phase,
            power_state=power,
            bmc_vendor=identity.vendor,
            system_uuid=identity.system_uuid,
            conditions=conditions,
        )

    def _condition(
        self, host: Host, conditions: list[Condition], aspect: Aspect, reason: str, message: str
    ) -> list[Condition]:
        """`aspect` is true unless there is a message against it."""
        return with_condition(
            conditions,
            aspect,
            Truth.FALSE if message else Truth.TRUE,
            reason=reason or "Well",
            message=message or "all is well",
            generation=host.metadata.generation,
            now=self._context.clock(),
        )

    def _holding(self, host: Host) -> HostPhase:
        claim = host.spec.claim_ref
        if claim is None:
            return HostPhase.AVAILABLE
        machine = self._context.caches.machines.get(f"{claim.namespace}/{claim.name}")
        leaving = machine is None or machine.metadata.deleting
        return HostPhase.RELEASING if leaving else HostPhase.CLAIMED
