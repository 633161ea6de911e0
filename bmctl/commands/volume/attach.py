"""bmctl volume attach and detach."""

import click

from bmctl import screen
from bmctl.api import Api, open_api
from bmctl.commands.volume.finding import the_attachment
from bmctl.completing import names_of
from bmctl.goals import shown
from bmctl.invocation import Invocation, current, namespaced
from bmctl.kinds import ATTACHMENT, HOST, VOLUME
from bmctl.objects import Object, dig, name_of
from bmctl.waiting import wait_for, wait_until_gone, waitable
from proto.errors import DpuError
from proto.reasons import Reason


@click.command()
@click.argument("volume", shell_complete=names_of(VOLUME))
@click.argument("host", shell_complete=names_of(HOST))
@click.option("--read-only", is_flag=True, help="Refuse writes of the host.")
@click.option("--protocol", type=click.Choice(["virtio-blk", "nvme"]), help="How the host sees the disk.")
@waitable
@namespaced
@current
def attach(
    invocation: Invocation,
    volume: str,
    host: str,
    read_only: bool,
    protocol: str | None,
    wait: bool,
    timeout_s: float,
) -> None:
    """Show VOLUME to HOST as a disk of its PCIe bus, through its DPU."""
    spec: Object = {"volumeRef": {"name": volume}, "hostRef": {"name": host}}
    spec |= {"readOnly": True} if read_only else {}
    spec |= {"protocol": protocol} if protocol else {}
    with open_api(invocation) as api:
        _there(api, volume, host)
        name = f"{volume}-{host}"
        found = _same(api, name, spec) or _create(api, name, spec)
        if not wait:
            screen.out().print(f"volume/{volume} is being attached to {host} as attachment/{name}")
            return
        seen = wait_for(api, ATTACHMENT, name, shown(name), timeout_s, found)
    where = f"serial {dig(seen, 'status.serial')}, slot {dig(seen, 'status.slot')} of {dig(seen, 'status.dpu')}"
    screen.out().print(f"volume/{volume} attached to {host}: {where}")


def _there(api: Api, volume: str, host: str) -> None:
    """Both ends exist, so that a typing error is told at once.

    Raises:
        DpuError: NOT_FOUND with what there is.
    """
    pairs = ((VOLUME, volume, "`bmctl volume list`"), (HOST, host, "`bmctl get hosts`"))
    for kind, name, shows in pairs:
        if api.find(kind, name) is None:
            place = f" in namespace {api.namespace}" if kind.namespaced else ""
            message, remedy = f"there is no {kind.word} {name}{place}", f"{shows} shows what there is"
            raise DpuError(Reason.NOT_FOUND, message, field=kind.word.upper(), remedy=remedy)


def _same(api: Api, name: str, spec: Object) -> Object | None:
    """The attachment when it is there as wanted, so that the command can be repeated."""
    found = api.find(ATTACHMENT, name)
    if found is None:
        return None
    if dig(found, "metadata.deletionTimestamp"):
        message, remedy = f"attachment {name} is still on its way out", "try again when it is gone"
        raise DpuError(Reason.WRONG_STATE, message, field="VOLUME", remedy=remedy)
    kept = ("volumeRef", "hostRef")
    differs = any(dig(found, f"spec.{key}") != spec[key] for key in kept)
    differs = differs or bool(dig(found, "spec.readOnly")) != bool(spec.get("readOnly"))
    asked = spec.get("protocol")
    if differs or (asked and asked != (dig(found, "spec.protocol") or dig(found, "status.protocol") or asked)):
        message = f"attachment {name} is there and is not what you ask for"
        remedy = f"`bmctl volume detach {spec['volumeRef']['name']}` first"
        raise DpuError(Reason.ALREADY_EXISTS, message, field="spec", remedy=remedy)
    return found


def _create(api: Api, name: str, spec: Object) -> Object:
    head = {"apiVersion": ATTACHMENT.api_version, "kind": ATTACHMENT.kind}
    return api.create(ATTACHMENT, {**head, "metadata": {"name": name}, "spec": spec})


@click.command()
@click.argument("volume", shell_complete=names_of(VOLUME))
@click.argument("host", required=False, shell_complete=names_of(HOST))
@waitable
@namespaced
@current
def detach(invocation: Invocation, volume: str, host: str | None, wait: bool, timeout_s: float) -> None:
    """Take VOLUME from its host; HOST says which one where several read it."""
    with open_api(invocation) as api:
        found = the_attachment(api, volume, host)
        _refuse_machines_own(found)
        api.delete(ATTACHMENT, name_of(found))
        if wait:
            wait_until_gone(api, ATTACHMENT, found, timeout_s)
    at = dig(found, "spec.hostRef.name")
    screen.out().print(f"volume/{volume} {'detached' if wait else 'is being detached'} from {at}")


def _refuse_machines_own(attachment: Object) -> None:
    """A disk that a machine's spec asks for would come back at once."""
    machine = dig(attachment, "spec.machineRef.name")
    if not machine:
        return
    disk = name_of(attachment).removeprefix(f"{machine}-")
    remedy = f"`bmctl disk detach {machine} {disk}`" if disk != "root" else f"`bmctl delete machine {machine}`"
    raise DpuError(
        Reason.IN_USE, f"machine {machine} has it as its disk {disk}", field="spec.machineRef", remedy=f"use {remedy}"
    )
