"""OPI's bridge on Open vSwitch: ports with VLANs, and tunnels."""

import asyncio
from collections.abc import Sequence
from weakref import WeakValueDictionary

from dpu_daemon.drivers.keeper import count_lost
from dpu_daemon.drivers.opi_network import rows
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.opi_network_seen import Plug, PlugSeen
from proto.errors import DpuError
from proto.ovsdb.client import Operation, OvsdbClient
from proto.ovsdb.remotes import Method, Remote
from proto.ovsdb.replica import Replica, RowChange
from proto.reasons import Reason

OBEY_TIMEOUT_S = 6.0
"""ovs-vswitchd follows within 5 ms, or 150 ms when it has just started; below the deadline of a step."""


class OpiBridge:
    """Ports that carry an object's name are the only ones that this changes.

    Args:
        socket: path of ovsdb-server's Unix socket.
        datapath: datapath type of the bridge, ``netdev`` or ``system``.
    """

    def __init__(self, *, socket: str, datapath: str) -> None:
        remote = Remote(Method.UNIX, socket)
        self._client = OvsdbClient([remote], rows.DATABASE, rows.COLUMNS, self._told, count=count_lost)
        self._datapath = datapath
        self._lost: Lost = lambda _: None
        self._busy: set[str] = set()
        self._known: dict[str, PlugSeen] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By name of bridge or port: several objects may want the same at once, and it can be inserted only once."""

    async def start(self, lost: Lost) -> None:
        """Connect; changes that were not ours are told from then on."""
        self._lost = lost
        await self._client.start(lost)

    async def stop(self) -> None:
        """Disconnect."""
        await self._client.stop()

    def look(self) -> tuple[frozenset[str], dict[str, PlugSeen]]:
        """Bridges, and ports of all of them by name."""
        replica = self._client.replica
        return frozenset(rows.bridges(replica)), {name: row.seen for name, row in rows.ports(replica).items()}

    async def make_bridge(self, bridge: str) -> None:
        """Make the bridge; one that is there is left as it is."""
        async with self._turn(bridge):
            if bridge not in rows.bridges(self._client.replica):
                await self._obeyed(rows.insert_bridge(bridge, self._datapath))

    async def plug(self, bridge: str, plug: Plug, ifindex: int) -> None:
        """Plug a port, or put it right; `ifindex` is its device's number, 0 for none.

        Raises:
            DpuError: NOT_FOUND for a bridge or device that is not there, IN_USE when somebody else plugged it.
        """
        async with self._turn(plug.name):
            self._busy.add(plug.name)
            try:
                await self._put(bridge, plug, ifindex)
            finally:
                self._done_with(plug.name)

    async def unplug(self, bridge: str, name: str) -> None:
        """Unplug a port of ours; others are left."""
        row = rows.port_named(self._client.replica, name)
        if row is None or row.seen.bridge != bridge:
            return
        if not row.seen.plug.owner:
            raise _foreign(name, bridge)
        self._busy.add(name)
        try:
            await self._obeyed(rows.remove_ports(row.bridge, [row.port]))
        finally:
            self._done_with(name)

    def _turn(self, name: str) -> asyncio.Lock:
        return self._turns.setdefault(name, asyncio.Lock())

    async def _put(self, bridge: str, plug: Plug, ifindex: int) -> None:
        replica = self._client.replica
        row, home = rows.port_named(replica, plug.name), rows.bridges(replica).get(bridge)
        if home is None:
            message = f"there is no bridge {bridge}"
            raise DpuError(Reason.NOT_FOUND, message, field="bridge", remedy="it is made by itself", retry=True)
        if row is not None and (row.seen.bridge != bridge or not row.seen.plug.owner):
            raise _foreign(plug.name, row.seen.bridge)
        if row is not None and (row.is_of_another(ifindex) or row.seen.plug.kind != plug.kind):
            await self._obeyed(rows.remove_ports(row.bridge, [row.port]))
            row = None
        if row is None:
            await self._obeyed(rows.insert_port(home, plug, ifindex))
        else:
            await self._obeyed(rows.update_port(row, plug))
        await self._confirm(plug, new=row is None)

    async def _confirm(self, plug: Plug, *, new: bool) -> None:
        row = rows.port_named(self._client.replica, plug.name)
        if row is not None and row.seen.ofport > 0 and not row.seen.error:
            return
        said = row.seen.error if row is not None and row.seen.error else "it has no such port"
        if new and row is not None:
            await self._obeyed(rows.remove_ports(row.bridge, [row.port]))
        message = f"the switch cannot use {plug.name}: {said}"
        remedy = "look whether this device exists, and at the log of ovs-vswitchd"
        raise DpuError(Reason.NOT_FOUND, message, field="spec", remedy=remedy, retry=True)

    async def _obeyed(self, operations: list[Operation]) -> None:
        """Commits, and waits until ovs-vswitchd has put it into effect."""
        results = await self._client.transact([*operations, *rows.next_configuration()])
        told = results[-1].get("rows", [])
        number = int(told[0]["next_cfg"]) if told else 0
        if not await self._client.wait_until(
            lambda replica: rows.current_configuration(replica) >= number, timeout_s=OBEY_TIMEOUT_S
        ):
            message = f"ovs-vswitchd does not follow its database within {OBEY_TIMEOUT_S:g} s"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="look whether ovs-vswitchd runs, and at its log")

    def _done_with(self, name: str) -> None:
        self._busy.discard(name)
        try:
            replica = self._client.replica
        except DpuError:
            return  # the next copy is compared whole
        row = rows.port_named(replica, name)
        if row is not None and row.seen.plug.owner:
            self._known[name] = row.seen
        else:
            self._known.pop(name, None)

    def _told(self, replica: Replica, changes: Sequence[RowChange]) -> None:
        """Tells when a port of ours changed and no call of ours did it; others' changes and our own cost nothing."""
        if not any(self._concerns(change) for change in changes):
            return
        now = _ours(replica)
        before, self._known = self._known, now
        for name in sorted(before):
            if name not in self._busy and now.get(name) != before[name]:
                there = now.get(name)
                story = "it is gone" if there is None else there.error or f"it is port {there.ofport}"
                self._lost(f"port {name} of OPI changed: {story}")

    def _concerns(self, change: RowChange) -> bool:
        row = change.after or change.before or {}
        name = row.get("name")
        return name not in self._busy and (name in self._known or rows.OWNER_KEY in row.get("external_ids", {}))


def _ours(replica: Replica) -> dict[str, PlugSeen]:
    return {name: row.seen for name, row in rows.ports(replica).items() if row.seen.plug.owner}


def _foreign(name: str, bridge: str) -> DpuError:
    message = f"{name} is on {bridge}, plugged by somebody else"
    return DpuError(Reason.IN_USE, message, field="spec", remedy="remove it with the tool that plugged it")
