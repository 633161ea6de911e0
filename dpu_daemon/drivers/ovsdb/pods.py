"""Containers' ports in Open vSwitch: plugged in shared transactions, awaited by the monitor."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from dpu_daemon.drivers.ethernet import interface_index
from dpu_daemon.drivers.ovsdb import edits, edits_pods, view
from dpu_daemon.drivers.ovsdb.batch import Batch
from dpu_daemon.drivers.ovsdb.client import Operation, OvsdbClient
from dpu_daemon.drivers.ovsdb.view import PortRow
from dpu_daemon.model.pod_port import PodPlug
from dpu_daemon.model.port import SwitchPortSeen
from proto.errors import DpuError
from proto.ovsdb.replica import Replica
from proto.reasons import Reason

Obeyed = Callable[[list[Operation]], Awaitable[None]]
"""Commits operations and waits until ovs-vswitchd has put them into effect."""


class PortNews:
    """Wakes who waits for news of one port."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def next(self, name: str) -> "asyncio.Future[None]":
        """Done at the next news of this port; to be taken before looking."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, set()).add(future)
        return future

    def tell(self, name: str) -> None:
        """There are some."""
        for future in self._waiting.pop(name, ()):
            if not future.done():
                future.set_result(None)

    def forget(self, name: str, future: "asyncio.Future[None]") -> None:
        """Nobody waits for it any more."""
        waiting = self._waiting.get(name, set())
        waiting.discard(future)
        if not waiting:
            self._waiting.pop(name, None)


@dataclass(frozen=True, slots=True)
class PodPlugger:
    """Plugs and unplugs.

    Attributes:
        client: of the database.
        batch: shares its transactions.
        news: of ports.
        busy: netdevs that are being worked on, whose changes are no news to the audit.
        known: ports of this daemon by name, as last told.
        obeyed: where the switch has to follow before the next operation.
    """

    client: OvsdbClient
    batch: Batch
    news: PortNews
    busy: set[str]
    known: Callable[[], Mapping[str, SwitchPortSeen]]
    obeyed: Obeyed

    async def plug(self, plug: PodPlug) -> None:
        """See PodSwitchDriver.plug_pod."""
        ifindex = interface_index(plug.netdev)
        if not ifindex:
            message = f"there is no netdev {plug.netdev}"
            remedy = "a veth is made by its container's side, a representor comes with its function"
            raise DpuError(Reason.NOT_FOUND, message, field="netdev", remedy=remedy, retry=True)
        self.busy.add(plug.netdev)
        try:
            await self._make_room(plug, ifindex)
            await self.batch.do(lambda replica, mark: _plug(replica, plug, ifindex, mark))
        finally:
            self.busy.discard(plug.netdev)

    async def _make_room(self, plug: PodPlug, ifindex: int) -> None:
        """A port whose netdev is another now leaves first; one that the switch could not use is tried again."""
        row = view.port(self.client.replica, plug.netdev)
        if row is None or not row.owned:
            return
        number = row.plugged_ifindex
        if row.stale or (number and number != ifindex) or row.seen.bridge != plug.bridge:
            await self.obeyed(edits.remove_port(row))
        elif row.seen.error or row.seen.ofport < 0:
            await self.obeyed([])

    async def unplug(self, netdev: str) -> None:
        """See PodSwitchDriver.unplug_pod."""
        self.busy.add(netdev)
        try:
            await self.batch.do(lambda replica, _mark: _unplug(replica, netdev))
        finally:
            self.busy.discard(netdev)

    async def forwarding(self, plug: PodPlug) -> int:
        """See PodSwitchDriver.forwarding."""
        while True:
            news = self.news.next(plug.netdev)
            try:
                if number := _number(plug, self.known().get(plug.netdev)):
                    return number
                await news
            finally:
                self.news.forget(plug.netdev, news)

    async def drop_limits(self, names: Collection[str]) -> None:
        """See PodSwitchDriver.drop_limits."""
        rows = [(table, identity) for table, _, identity in (name.partition("/") for name in names)]
        await self.batch.do(lambda _replica, _mark: edits.drop_limits(rows))


def _plug(replica: Replica, plug: PodPlug, ifindex: int, mark: str) -> list[Operation]:
    bridge = view.bridges(replica).get(plug.bridge)
    if bridge is None:
        message = f"there is no bridge {plug.bridge}"
        raise DpuError(Reason.NOT_FOUND, message, field="bridge", remedy="make the bridge first", retry=True)
    row = view.port(replica, plug.netdev)
    if row is None:
        return edits_pods.insert_pod(bridge, plug, ifindex, mark)
    if not row.owned:
        message = f"{plug.netdev} is on {row.seen.bridge} already, plugged by somebody else"
        raise DpuError(Reason.IN_USE, message, field="netdev", remedy="remove it with the tool that plugged it")
    return [] if _is_met(plug, row) else edits_pods.update_pod(row, plug, ifindex, mark)


def _is_met(plug: PodPlug, row: PortRow) -> bool:
    seen = row.seen
    has = (seen.iface_id, seen.mac, seen.vlan, seen.pod, seen.limit)
    return has == (plug.port_id, plug.mac, plug.vlan, plug.holder, plug.limit)


def _unplug(replica: Replica, netdev: str) -> list[Operation]:
    row = view.port(replica, netdev)
    return edits.remove_port(row) if row is not None and row.seen.pod else []


def _number(plug: PodPlug, seen: SwitchPortSeen | None) -> int:
    """The OpenFlow number of a port that forwards; 0 for not yet.

    Raises:
        DpuError: it never will.
    """
    if seen is None or (seen.iface_id, seen.pod) != (plug.port_id, plug.holder):
        message = f"port {plug.netdev} of {plug.port_id} vanished from the switch's database"
        raise DpuError(Reason.UNAVAILABLE, message, remedy="repeat the call; see who changes the database")
    if seen.error or seen.ofport < 0:
        message = f"the switch cannot use {plug.netdev}: {seen.error or 'it gives no number'}"
        remedy = "look whether this netdev exists; a representor comes with its function"
        raise DpuError(Reason.NOT_FOUND, message, field="netdev", remedy=remedy, retry=True)
    return seen.ofport if seen.installed or not plug.wait_for_ovn else 0
