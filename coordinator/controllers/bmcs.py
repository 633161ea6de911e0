"""From a host's spec to its management controller: Secrets read, errors worded."""

import msgspec

from coordinator.clients.model import BmcEndpoint, Credentials, PowerAction
from coordinator.clients.protocols import Bmc
from coordinator.controllers.context import Context
from coordinator.core.objects.fleet import Host, PowerState
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import SecretRef
from proto.errors import DpuError
from proto.reasons import Reason


async def bmc_of(context: Context, host: Host) -> Bmc:
    """A client of a host's management controller.

    Raises:
        DpuError: a Secret is missing or incomplete; names the field of the host.
    """
    access = host.spec.bmc
    words = await _secret(context, access.credentials_secret_ref, "spec.bmc.credentialsSecretRef", host)
    for key in ("username", "password"):
        if key not in words:
            raise DpuError(
                Reason.INVALID,
                f"Secret {_spell(access.credentials_secret_ref)} of host {host.metadata.name} has no {key}",
                field="spec.bmc.credentialsSecretRef",
                remedy="write username and password into it",
            )
    ca = ""
    if access.ca_secret_ref:
        ca = (await _secret(context, access.ca_secret_ref, "spec.bmc.caSecretRef", host)).get("ca.crt", b"").decode()
    credentials = Credentials(username=words["username"].decode(), password=words["password"].decode())
    return context.outside.bmc(
        BmcEndpoint(
            address=access.address,
            credentials=credentials,
            secret=_spell(access.credentials_secret_ref),
            ca=ca,
            verify=not access.disable_certificate_verification,
        )
    )


async def look_at_power(context: Context, host: Host) -> PowerState:
    """Ask for the power state and write it down."""
    state = await (await bmc_of(context, host)).power()
    await write_power(context, host.metadata.name, state)
    return state


async def write_power(context: Context, name: str, state: PowerState) -> None:
    """Write a power state that was just seen; the newest look wins over one that began before."""
    while True:
        host = context.caches.hosts.get(name)
        if host is None or host.status.power_state is state:
            return
        try:
            await context.write_status(Kind.HOST, host, msgspec.structs.replace(host.status, power_state=state))
        except DpuError as error:
            if error.reason is not Reason.CONFLICT:
                raise
            context.caches.hosts.absorb(await context.api.get(Kind.HOST, name))
        else:
            return


async def act(context: Context, host: Host, action: PowerAction) -> None:
    """Tell a management controller something."""
    await (await bmc_of(context, host)).act(action)


async def _secret(context: Context, ref: SecretRef, field: str, host: Host) -> dict[str, bytes]:
    try:
        return await context.api.secret(ref.namespace, ref.name)
    except DpuError as error:
        if error.reason is not Reason.NOT_FOUND:
            raise
        raise DpuError(
            Reason.NOT_FOUND,
            f"Secret {_spell(ref)} of host {host.metadata.name} does not exist",
            field=field,
            remedy="create it, with username and password" if "credentials" in field else "create it, with ca.crt",
        ) from error


def _spell(ref: SecretRef) -> str:
    return f"{ref.namespace}/{ref.name}"
