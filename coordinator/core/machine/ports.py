"""A machine's NICs and its seed: the steps that put them in place, and how they stand."""

from hashlib import sha256

import msgspec

from coordinator.core.ipam.allocate import is_settled, settle
from coordinator.core.machine.names import count, port_id
from coordinator.core.machine.seed import NicConfig, nic_configs, seed_documents
from coordinator.core.machine.seen import Area, Seen, WriteLedgers, soonest
from coordinator.core.machine.steps import Step, StepKind, Verdict, judge
from coordinator.core.objects.machine import Nic, NicStatus
from coordinator.core.objects.net import Limits
from coordinator.core.objects.network import Network, NetworkDriver
from proto.errors import DpuError
from proto.reasons import Reason


def address_area(seen: Seen) -> Area:
    """How the addresses stand: each NIC has a lease that fits its spec, and no lease is left over."""
    if is_settled(seen.machine, seen.subnets.values()):
        problem = no_network(seen)
        given = ", ".join(lease.allocation.address for lease in seen.leases.values()) or "no NIC, no address"
        return Area(
            ready=problem is None, says=f"address {given}" if seen.machine.spec.nics else given, problem=problem
        )
    try:
        ledgers = settle(seen.machine, seen.subnets, seen.machines, seen.pods, seen.leaving)
    except DpuError as error:
        return Area(ready=False, says="addresses are being allocated", problem=error)
    return Area(ready=False, says="addresses are being allocated", changes=(WriteLedgers(ledgers=ledgers),))


def no_network(seen: Seen) -> DpuError | None:
    """The complaint about a NIC whose subnet, which exists, has no network."""
    for index, nic in enumerate(seen.machine.spec.nics):
        subnet = seen.subnets[nic.subnet_ref.name]
        if subnet.spec.network_ref.name not in seen.networks:
            return DpuError(
                Reason.NOT_FOUND,
                f"network {subnet.spec.network_ref.name} of subnet {nic.subnet_ref.name} does not exist",
                field=f"spec.nics[{index}].subnetRef.name",
                remedy="create the Network, or use another subnet",
            )
    return None


def nic_rules(seen: Seen) -> tuple[bool, str] | None:
    """Whether the limits and security groups of the NICs can be had, in words; None when no NIC asks for any."""
    asking = [nic for nic in seen.machine.spec.nics if nic.bandwidth != Limits() or nic.security_groups]
    if not asking:
        return None
    plain = [
        f"{nic.name} (network {network.metadata.name})" for nic in asking if (network := _plain_network(seen, nic))
    ]
    if plain:
        return False, (
            f"limits and security groups of {', '.join(plain)} are not applied: only OVN applies them; "
            "use a subnet of a network with driver ovn, or take bandwidth and securityGroups out of spec.nics"
        )
    return True, f"OVN applies limits and security groups of {', '.join(nic.name for nic in asking)}"


def _plain_network(seen: Seen, nic: Nic) -> Network | None:
    """The network of a NIC when it is known, and not OVN's."""
    subnet = seen.subnets.get(nic.subnet_ref.name)
    network = seen.networks.get(subnet.spec.network_ref.name) if subnet else None
    return network if network is not None and network.spec.driver is not NetworkDriver.OVN else None


def configs(seen: Seen) -> list[NicConfig]:
    """The NICs for which all is known."""
    return nic_configs(seen.machine, seen.leases, seen.subnets, seen.networks)


def plug_area(seen: Seen) -> Area:
    """How the NICs stand: each one forwards on the DPU, and none is there that is no longer wanted."""
    steps = [plug_step(seen, config) for config in configs(seen)]
    going = unplug_steps(seen)
    leaving = [nic.name for nic in seen.machine.status.nics if nic.port_id in {step.target for step in going}]
    doing = f"NIC {', '.join(leaving)} is being unplugged" if leaving else "NICs are being plugged"
    return _from_steps(seen, steps + going, done=f"{count(len(seen.machine.spec.nics), 'NIC')} plugged", doing=doing)


def seed_area(seen: Seen) -> Area:
    """How the seed disk stands."""
    return _from_steps(seen, [seed_step(seen)], done="seed disk in place", doing="seed disk is being made")


def plug_step(seen: Seen, config: NicConfig) -> Step:
    """The step that plugs one NIC."""
    network = config.network
    whole = (
        config.lease.allocation.mac,
        config.prefixed,
        network.metadata.uid,
        network.spec.bridge,
        network.spec.vlan,
        config.mtu,
        where(seen),
    )
    return Step(kind=StepKind.PLUG, target=config.nic.name, fingerprint=_digest(*whole))


def unplug_steps(seen: Seen) -> list[Step]:
    """Steps for the ports that the status still lists and the spec no longer has."""
    wanted = {nic.name for nic in seen.machine.spec.nics}
    return [
        Step(kind=StepKind.UNPLUG, target=nic.port_id, fingerprint=where(seen))
        for nic in seen.machine.status.nics
        if nic.name not in wanted and nic.port_id
    ]


def seed_step(seen: Seen) -> Step:
    """The step that makes the seed disk; the Secret's content is read when it runs."""
    spec = seen.machine.spec
    documents = seed_documents(seen.machine, spec.user_data, configs(seen))
    secret = spec.user_data_secret_ref.name if spec.user_data_secret_ref else ""
    return Step(kind=StepKind.SEED, fingerprint=_digest(documents.digest, secret, where(seen)))


def nic_statuses(seen: Seen) -> list[NicStatus]:
    """The NICs as the status shows them; one that is being unplugged stays until it is gone."""
    before = {nic.name: nic for nic in seen.machine.status.nics}
    shown = [_nic_status(seen, config, before.get(config.nic.name)) for config in configs(seen)]
    going = {step.target: step for step in unplug_steps(seen)}
    leaving = [msgspec.structs.replace(nic, state="Unplugging") for nic in before.values() if nic.port_id in going]
    return shown + [nic for nic in leaving if not judge(seen.steps, going[nic.port_id], seen.now).done]


def _nic_status(seen: Seen, config: NicConfig, before: NicStatus | None) -> NicStatus:
    verdict = judge(seen.steps, plug_step(seen, config), seen.now)
    old_state = before.state if before and not verdict.error else ""
    old_device = before.representor if before else ""
    return NicStatus(
        name=config.nic.name,
        mac=config.lease.allocation.mac,
        port_id=port_id(seen.machine.metadata.uid, config.nic.name),
        addresses=[config.prefixed],
        gateway=config.subnet.spec.gateway,
        subnet=config.subnet.metadata.name,
        state="Forwarding" if verdict.done else old_state or "Converging",
        representor=verdict.result or old_device,
    )


def _from_steps(seen: Seen, steps: list[Step], *, done: str, doing: str) -> Area:
    verdicts: list[tuple[Step, Verdict]] = [(step, judge(seen.steps, step, seen.now)) for step in steps]
    problem = next((verdict.error for _, verdict in verdicts if verdict.error), None)
    ready = all(verdict.done for _, verdict in verdicts)
    return Area(
        ready=ready,
        says=done if ready else doing,
        steps=tuple(step for step, verdict in verdicts if verdict.start),
        problem=None if ready else problem,
        attempts=max((verdict.attempts for _, verdict in verdicts), default=1) or 1,
        wake_s=soonest(*(verdict.wake_s for _, verdict in verdicts if not verdict.start)),
    )


def where(seen: Seen) -> str:
    """The DPU, and which life of its journal."""
    return f"{seen.dpu.metadata.name}/{seen.dpu.status.instance_id}" if seen.dpu else ""


def _digest(*parts: object) -> str:
    return sha256(repr(parts).encode()).hexdigest()[:16]
