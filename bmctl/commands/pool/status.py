"""bmctl pool status."""

from collections.abc import Iterator, Sequence

import click
from rich.text import Text

from bmctl import screen
from bmctl.api import open_api
from bmctl.columns import Columns
from bmctl.commands.pool.live_pools import hosts_of, pools_of
from bmctl.invocation import Invocation, connected, current
from coordinator.core.objects.fleet import Host
from coordinator.core.objects.pool import Pool

FREE = "-"


@click.command()
@click.option(
    "--servers", "every", is_flag=True, help="Every server, not only those in other hands than their owner's."
)
@connected
@current
def status(invocation: Invocation, every: bool) -> None:
    """Show who owns servers, who has borrowed them, who gives them back, and who waits."""
    with open_api(invocation) as api:
        pools, hosts = pools_of(api), hosts_of(api)
    if not pools:
        screen.err().print("no pools", style="dim")
        return
    for line in _lines(pools, hosts, every=every):
        screen.out().print(line)


def _lines(pools: Sequence[Pool], hosts: Sequence[Host], *, every: bool) -> Iterator[Text | str]:
    ranked = sorted(pools, key=lambda pool: (-pool.spec.priority, pool.metadata.name))
    names = ["pool", "kind", "priority", "range", "wanted", "held", "ready", "own", "lent", "borrowed", "to come"]
    yield from Columns(names).lines([_pool_row(pool, hosts) for pool in ranked])
    shown = [_server_row(host) for host in sorted(hosts, key=lambda one: one.metadata.name) if every or _foreign(host)]
    if shown:
        yield ""
        yield from Columns(["server", "owner", "held by", "what goes on"]).lines(shown)
    free = [host for host in hosts if not host.spec.lease.pool]
    yield ""
    yield f"{len(hosts)} {'server' if len(hosts) == 1 else 'servers'}, {len(free)} in no pool's hands"
    for pool in ranked:
        if pool.status.message:
            yield f"{pool.metadata.name}: {pool.status.message}"


def _pool_row(pool: Pool, hosts: Sequence[Host]) -> list[str]:
    name, spec = pool.metadata.name, pool.spec
    own = [host for host in hosts if _owner(host) == name]
    held = [host for host in hosts if host.spec.lease.pool == name]
    lent = [host for host in own if host.spec.lease.pool not in {"", name}]
    borrowed = [host for host in held if _owner(host) not in {"", name}]
    coming = [host for host in hosts if name in {host.spec.lease.recalled_for, host.spec.lease.reserved_for}]
    counts = [len(held), pool.status.ready, len(own), len(lent), len(borrowed), len(coming)]
    sizes = f"{spec.minimum}-{spec.maximum}"
    return [name, spec.kind.value, str(spec.priority), sizes, str(spec.replicas), *map(str, counts)]


def _server_row(host: Host) -> list[str]:
    lease = host.spec.lease
    return [host.metadata.name, _owner(host) or "common", lease.pool or FREE, _story(host)]


def _story(host: Host) -> str:
    lease, owner = host.spec.lease, _owner(host)
    if lease.recalled_for:
        return f"{lease.pool} is to give it back for {lease.recalled_for}"
    if lease.reserved_for and not lease.pool:
        return f"kept for {lease.reserved_for}"
    if not lease.pool:
        return "free"
    if not owner:
        return "in use"
    return "in its owner's use" if owner == lease.pool else f"lent by {owner}"


def _foreign(host: Host) -> bool:
    """Whether the server is in other hands than its owner's, or about to change hands."""
    lease = host.spec.lease
    moved = bool(lease.pool) and _owner(host) not in {"", lease.pool}
    return moved or bool(lease.recalled_for or lease.reserved_for)


def _owner(host: Host) -> str:
    return host.spec.pool_ref.name if host.spec.pool_ref else ""
