"""What the steps of a machine do: seed, NICs, power, probe, release."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from coordinator.clients.model import PortSpec, PowerAction, SeedSpec
from coordinator.clients.protocols import Bmc, Dpu
from coordinator.controllers.bmcs import bmc_of, write_power
from coordinator.controllers.context import Context
from coordinator.controllers.fences import first_fence, last_fence, rising
from coordinator.controllers.jobs import Work
from coordinator.core.ipam.plan import parse_subnet
from coordinator.core.machine.leftovers import Held, sort_out
from coordinator.core.machine.names import port_id
from coordinator.core.machine.ports import configs
from coordinator.core.machine.seed import NicConfig, seed_documents
from coordinator.core.machine.seen import Seen
from coordinator.core.machine.steps import Step, StepKind
from coordinator.core.objects.fleet import Host, PowerState
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.meta import Json
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

POWER_LOOK_S = 0.25
"""Between looks at a BMC that was told to change the power; it offers no way to be told."""

POWER_OBEYS_S = 60.0

POWER_STEPS = frozenset({StepKind.POWER_ON, StepKind.SHUT_DOWN, StepKind.POWER_OFF})


class MachineWork:
    """Makes the coroutine that a step is.

    Args:
        doubt: called with the name of a host whose BMC did not do as it was told.
    """

    def __init__(self, context: Context, doubt: Callable[[str], None]) -> None:
        self._context = context
        self._doubt = doubt
        self._untargeted: dict[StepKind, Callable[[Seen], Work]] = {
            StepKind.CLEAR: self._clear,
            StepKind.SEED: self._seed,
            StepKind.POWER_ON: self._power_on,
            StepKind.SHUT_DOWN: self._shut_down,
            StepKind.POWER_OFF: self._power_off,
            StepKind.PROBE: self._probe,
            StepKind.RELEASE: self._release,
        }

    def of(self, seen: Seen, step: Step) -> Work:
        """The work of a step, on what was seen when it was planned; its answer is the step's result."""
        if step.kind is StepKind.PLUG:
            return self._plug(seen, step.target)
        if step.kind is StepKind.UNPLUG:
            return self._unplug(seen, step.target)
        if step.kind in POWER_STEPS:
            return self._doubting(seen, self._untargeted[step.kind])
        return self._untargeted[step.kind](seen)

    async def _doubting(self, seen: Seen, power: Callable[[Seen], Work]) -> str:
        """A power step whose failure has the host looked at at once: it may be the BMC that is ill."""
        try:
            return await power(seen)
        except DpuError:
            self._doubt(_host(seen).metadata.name)
            raise

    async def _seed(self, seen: Seen) -> str:
        machine = seen.machine
        text = await self._user_data(machine)
        documents = seed_documents(machine, text, configs(seen))
        spec = SeedSpec(
            machine_id=machine.metadata.uid,
            generation=first_fence(machine),
            user_data=documents.user_data,
            meta_data=documents.meta_data,
            network_config=documents.network_config,
        )
        client = self._dpu(seen)

        async def put(generation: int) -> str:
            await client.put_seed(replace(spec, generation=generation))
            return ""

        return await rising(machine, put)

    async def _user_data(self, machine: Machine) -> str:
        ref = machine.spec.user_data_secret_ref
        if ref is None:
            return machine.spec.user_data
        remedy = "create the Secret with key userData in the machine's namespace"
        field = "spec.userDataSecretRef.name"
        try:
            words = await self._context.api.secret(machine.metadata.namespace, ref.name)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
            raise DpuError(Reason.NOT_FOUND, f"Secret {ref.name} does not exist", field=field, remedy=remedy) from error
        if "userData" not in words:
            raise DpuError(Reason.INVALID, f"Secret {ref.name} has no userData", field=field, remedy=remedy)
        return words["userData"].decode(errors="replace")

    async def _plug(self, seen: Seen, nic: str) -> str:
        config = next(found for found in configs(seen) if found.nic.name == nic)
        meta = seen.machine.metadata
        spec, own = _port_spec(meta.uid, config), port_id(meta.uid, nic)
        client = self._dpu(seen)

        async def plug(generation: int) -> str:
            try:
                return (await client.plug_port(own, generation, spec)).representor
            except DpuError as error:
                if error.reason is Reason.ALREADY_EXISTS:
                    await client.unplug_port(own, generation)
                raise

        return await rising(seen.machine, plug)

    async def _unplug(self, seen: Seen, port: str) -> str:
        return await self._dpu(seen).unplug_port(port, last_fence(seen.machine))

    async def _power_on(self, seen: Seen) -> str:
        host, bmc = await self._bmc(seen)
        if await bmc.power() is not PowerState.ON:
            await bmc.boot_from_disk()
            await bmc.act(PowerAction.ON)
        return await self._until(host, bmc, PowerState.ON, POWER_OBEYS_S)

    async def _shut_down(self, seen: Seen) -> str:
        host, bmc = await self._bmc(seen)
        if await bmc.power() is not PowerState.OFF:
            await bmc.act(PowerAction.SHUT_DOWN)
        return await self._until(host, bmc, PowerState.OFF, self._context.timing.deadlines.stop_s)

    async def _power_off(self, seen: Seen) -> str:
        host, bmc = await self._bmc(seen)
        if await bmc.power() is not PowerState.OFF:
            await bmc.act(PowerAction.FORCE_OFF)
        return await self._until(host, bmc, PowerState.OFF, POWER_OBEYS_S)

    async def _bmc(self, seen: Seen) -> tuple[Host, Bmc]:
        host = _host(seen)
        return host, await bmc_of(self._context, host)

    async def _until(self, host: Host, bmc: Bmc, wanted: PowerState, timeout_s: float) -> str:
        """Look until the power is as told, and write it down."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while await bmc.power() is not wanted:
            if loop.time() >= deadline:
                raise DpuError(
                    Reason.DEADLINE,
                    f"host {host.metadata.name} is not {wanted.value} {timeout_s:.0f} s after its BMC was told so",
                    remedy=f"look at its console and at the BMC {host.spec.bmc.address}",
                )
            await asyncio.sleep(POWER_LOOK_S)
        await write_power(self._context, host.metadata.name, wanted)
        return wanted.value

    async def _probe(self, seen: Seen) -> str:
        config = configs(seen)[0]
        probe = config.subnet.status.probe_address or str(parse_subnet(config.subnet.spec).probe)
        address = config.lease.allocation.address
        own = port_id(seen.machine.metadata.uid, config.nic.name)
        attempts = 0
        limit = min(self._context.timing.deadlines.boot_s, 600.0)
        async for report in self._dpu(seen).wait_answer(own, address, probe, limit):
            attempts = report.attempt
            if report.answered:
                return f"answered at attempt {attempts}"
        raise DpuError(
            Reason.DEADLINE,
            f"{address} has not answered {attempts} pings",
            remedy="look at the console; check the image and spec.userData",
        )

    async def _clear(self, seen: Seen) -> str:
        """Make sure that the DPU holds nothing of others; what machines that are no more have left is taken away.

        Raises:
            DpuError: WRONG_STATE; something stays, which the message names.
        """
        client, uid = self._dpu(seen), seen.machine.metadata.uid
        name = _host(seen).spec.dpu_ref.name
        alive = {one["metadata"]["uid"]: _key(one) for one in (await self._context.api.list(Kind.MACHINE))[0]}
        for _ in range(2):
            held, unnamed = await _held(client)
            attachments = {one["metadata"]["uid"] for one in (await self._context.api.list(Kind.ATTACHMENT))[0]}
            found = sort_out(uid, held, alive, attachments, unnamed)
            for orphan, generation in sorted(found.orphans.items()):
                released = await client.release_machine(orphan, generation, force=True)
                log.warning("leftovers taken away", dpu=name, machine=orphan, things=released)
            if not found.orphans:
                break
        if not found.orphans and not found.kept:
            return "clear"
        raise DpuError(
            Reason.WRONG_STATE,
            f"DPU {name} still holds {'; '.join(found.kept) or 'what a machine that is no more has left'}",
            field="spec.dpuRef.name of the host",
            remedy="delete the machine or the VolumeAttachment that it belongs to; what belongs to nobody an"
            " administrator takes away with ReleaseMachine or Detach at the DPU; this machine goes on by itself",
            retry=True,
        )

    async def _release(self, seen: Seen) -> str:
        meta = seen.machine.metadata
        released = await self._dpu(seen).release_machine(meta.uid, last_fence(seen.machine))
        log.info("released", machine=meta.key, things=released)
        return "; ".join(released)

    def _dpu(self, seen: Seen) -> Dpu:
        if seen.dpu is None:
            name = _host(seen).spec.dpu_ref.name
            raise DpuError(Reason.NOT_FOUND, f"DPU {name} is not registered", remedy="create the Dpu object")
        return self._context.dpu(seen.dpu)


async def _held(client: Dpu) -> tuple[list[Held], int]:
    """What a DPU shows to its host, and how many slots of disks are used by what it does not list: seeds."""
    info, disks, ports = await client.daemon(), await client.list_disks(), await client.list_ports()
    held = [
        Held(what=f"disk {d.attachment_id}", id=d.attachment_id, machine_id=d.machine_id, generation=d.generation)
        for d in disks
    ]
    held += [
        Held(what=f"port {p.port_id}", id=p.port_id, machine_id=p.machine_id, generation=p.generation) for p in ports
    ]
    return held, info.disk_slots_used - len(disks)


def _key(raw: Json) -> str:
    return f"{raw['metadata']['namespace']}/{raw['metadata']['name']}"


def _port_spec(uid: str, config: NicConfig) -> PortSpec:
    network = config.network
    return PortSpec(
        mac=config.lease.allocation.mac,
        addresses=(config.prefixed,),
        network_id=network.metadata.uid,
        machine_id=uid,
        bridge=network.spec.bridge,
        vlan=network.spec.vlan,
        mtu=config.mtu,
    )


def _host(seen: Seen) -> Host:
    if seen.host is None:
        raise DpuError(Reason.WRONG_STATE, f"machine {seen.machine.metadata.key} has no host", retry=True)
    return seen.host
