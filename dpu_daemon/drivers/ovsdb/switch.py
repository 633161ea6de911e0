"""Open vSwitch as a SwitchDriver."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from dpu_daemon.drivers.ethernet import has_address, interface_index, shield
from dpu_daemon.drivers.ovsdb import edits, view
from dpu_daemon.drivers.ovsdb.batch import Batch
from dpu_daemon.drivers.ovsdb.client import Operation, OvsdbClient
from dpu_daemon.drivers.ovsdb.edits import PortWanted
from dpu_daemon.drivers.ovsdb.pods import PodPlugger, PortNews
from dpu_daemon.drivers.ovsdb.view import PortRow
from dpu_daemon.drivers.ovsdb.vswitchd import OVN_CONTROLLER, VswitchdWatch
from dpu_daemon.engine.pod_protocols import SwitchTrouble
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.pod_port import PodPlug
from dpu_daemon.model.port import SwitchPortSeen, SwitchSeen
from proto.errors import DpuError
from proto.ovsdb.replica import Replica
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

OBEY_TIMEOUT_S = 6.0
"""ovs-vswitchd follows within 5 ms, or 150 ms when it has just started; below the deadline of a step."""

HIGHEST_VLAN = 4094
USERSPACE = "netdev"
CONNECTED = "connected"
OVN_RUN_DIR = Path("/run/ovn")


class OvsdbSwitch:
    """A PodSwitchDriver; ports that it plugs carry ``dpupool=owned`` and are the only ones that it changes.

    Args:
        socket: path of ovsdb-server's Unix socket; ovs-vswitchd's pidfile lies beside it.
        datapath: datapath type of bridges that it makes, ``netdev`` or ``system``.
        secure: bridges that are made to drop what no flow lets through: those that ovn-controller rules.
        ovn: ovn-controller rules bridges of this switch, and is watched.
        ovn_run_dir: where its pidfile lies; beside that of ovs-vswitchd, or where packages put it, when None.
    """

    def __init__(
        self,
        *,
        socket: str,
        datapath: str,
        secure: Collection[str] = (),
        ovn: bool = False,
        ovn_run_dir: Path | None = None,
    ) -> None:
        self._client = OvsdbClient(socket, self._changed)
        self._vswitchd = VswitchdWatch(Path(socket).parent)
        self._ovn = _ovn_watch(Path(socket).parent, ovn_run_dir) if ovn else None
        self._datapath = datapath
        self._secure = frozenset(secure)
        self._lost: Lost = lambda _: None
        self._busy: set[str] = set()
        self._known: dict[str, SwitchPortSeen] = {}
        self._seen: SwitchSeen | None = None
        """The last look, until something changes: hundreds of containers at once look at the same switch."""
        self._news = PortNews()
        self._pods = PodPlugger(
            self._client, Batch(self._client), self._news, self._busy, lambda: self._known, self._obeyed
        )

    async def start(self, lost: Lost) -> None:
        self._lost = lost
        await self._client.start(lost)
        await self._vswitchd.start(lost)
        if self._ovn is not None:
            await self._ovn.start(lost)

    async def stop(self) -> None:
        if self._ovn is not None:
            await self._ovn.stop()
        await self._vswitchd.stop()
        await self._client.stop()

    async def plug_pod(self, plug: PodPlug) -> None:
        await self._pods.plug(plug)

    async def unplug_pod(self, netdev: str) -> None:
        await self._pods.unplug(netdev)

    async def forwarding(self, plug: PodPlug) -> int:
        return await self._pods.forwarding(plug)

    async def drop_limits(self, names: Collection[str]) -> None:
        await self._pods.drop_limits(names)

    async def set_chassis(self, chassis: Mapping[str, str]) -> None:
        await self._client.transact(edits.tell_chassis(chassis))

    async def set_bridge(self, bridge: str, *, datapath: str, secure: bool) -> None:
        found = view.bridges(self._client.replica).get(bridge)
        self._busy.add(bridge)
        try:
            if found is None:
                await self._obeyed(edits.insert_bridge(bridge, datapath, secure=secure))
            else:
                await self._obeyed(edits.update_bridge(found, datapath, secure=secure))
        finally:
            self._done_with(bridge)

    async def trouble(self) -> SwitchTrouble:
        """Whether each process answers, not only whether it lives: one that stands still for long forwards nothing."""
        try:
            _ = self._client.replica
            await self._vswitchd.pulse("version")
        except DpuError as error:
            return SwitchTrouble(error.message, forwarding=True)
        if self._ovn is None:
            return SwitchTrouble()
        try:
            told = (await self._ovn.pulse("connection-status")).strip()
        except DpuError as error:
            return SwitchTrouble(error.message)
        well = told in {"", CONNECTED}
        return SwitchTrouble("" if well else f"ovn-controller and its southbound database: {told}")

    @property
    def database(self) -> OvsdbClient:
        """The one connection to the switch's database."""
        return self._client

    @property
    def vswitchd(self) -> VswitchdWatch:
        """The one connection to the process that obeys it."""
        return self._vswitchd

    def version(self) -> str:
        return f"ovs {self._vswitchd.version}" if self._vswitchd.version else ""

    async def look(self) -> SwitchSeen:
        """Every port, also those of others: a port in the wrong place is worth seeing."""
        replica = self._client.replica
        if self._seen is None:
            self._seen = view.seen(replica)
        return self._seen

    async def ensure_bridge(self, bridge: str) -> None:
        """Makes a bridge; one that is there already is left as it is."""
        if bridge in view.bridges(self._client.replica):
            return
        self._busy.add(bridge)
        try:
            await self._obeyed(edits.insert_bridge(bridge, self._datapath, secure=bridge in self._secure))
        finally:
            self._done_with(bridge)

    async def add_port(self, bridge: str, netdev: str, *, iface_id: str, mac: str, vlan: int) -> int:
        """Plugs a netdev, or puts its port right.

        Raises:
            DpuError: NOT_FOUND for a bridge or a netdev that is not there (worth repeating for the netdev, and nothing
                is left behind), ALREADY_EXISTS when it is on another bridge, IN_USE when somebody else plugged it,
                INVALID for a VLAN, UNAVAILABLE while the switch does not follow.
        """
        if not 0 <= vlan <= HIGHEST_VLAN:
            message = f"{vlan} is no VLAN"
            raise DpuError(Reason.INVALID, message, field="vlan", remedy=f"give 0 (untagged) to {HIGHEST_VLAN}")
        want = PortWanted(name=netdev, iface_id=iface_id, mac=mac, vlan=vlan, ifindex=interface_index(netdev))
        return await self._plug(bridge, want)

    async def ensure_internal_port(self, bridge: str, name: str) -> int:
        """A port with a netdev of the switch's own, carrying all VLANs; returns its OpenFlow port number."""
        return await self._plug(bridge, PortWanted(name=name, kind=edits.INTERNAL))

    async def remove_port(self, bridge: str, netdev: str) -> None:
        """Unplugs a port.

        Raises:
            DpuError: FORBIDDEN for a port that this daemon did not plug.
        """
        row = view.ports(self._client.replica).get(netdev)
        if row is None or row.seen.bridge != bridge:
            return
        if not row.owned:
            message = f"port {netdev} on {bridge} was not plugged by this daemon"
            raise DpuError(Reason.FORBIDDEN, message, field="netdev", remedy="remove it with the tool that plugged it")
        self._busy.add(netdev)
        try:
            await self._obeyed(edits.remove_port(row))
        finally:
            self._done_with(netdev)

    async def _plug(self, bridge: str, want: PortWanted) -> int:
        self._busy.add(want.name)
        try:
            return await self._put(bridge, want)
        finally:
            self._done_with(want.name)

    async def _put(self, bridge: str, want: PortWanted) -> int:
        replica = self._client.replica
        row = view.ports(replica).get(want.name)
        if row is None:
            return await self._insert(_bridge_uuid(replica, bridge), bridge, want)
        if row.seen.bridge != bridge:
            message = f"{want.name} is on bridge {row.seen.bridge}"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="bridge", remedy="remove it there first")
        if row.stale and row.owned:
            await self._obeyed(edits.remove_port(row))
            return await self._insert(row.bridge_uuid, bridge, want)
        if want.is_met_by(row):
            if row.seen.ofport > 0 and not row.seen.error:
                return row.seen.ofport
            await self._obeyed([])
        elif row.owned:
            await self._obeyed(edits.update_port(row, want))
        else:
            message = f"{want.name} is on {bridge} already, plugged by somebody else"
            raise DpuError(Reason.IN_USE, message, field="netdev", remedy="remove it with the tool that plugged it")
        return self._number(want.name)

    async def _insert(self, bridge_uuid: str, bridge: str, want: PortWanted) -> int:
        await self._obeyed(edits.insert_port(bridge_uuid, want))
        try:
            return self._number(want.name)
        except DpuError:
            row = view.ports(self._client.replica).get(want.name)
            if row is not None and row.seen.bridge == bridge:
                await self._obeyed(edits.remove_port(row))
            raise

    async def _obeyed(self, operations: list[Operation]) -> None:
        """Commits, and waits until ovs-vswitchd has put it into effect."""
        results = await self._client.transact([*operations, *edits.next_configuration()])
        rows = results[-1].get("rows", [])
        number = int(rows[0]["next_cfg"]) if rows else 0
        if not await self._client.wait_until(
            lambda replica: view.current_configuration(replica) >= number, timeout_s=OBEY_TIMEOUT_S
        ):
            message = f"ovs-vswitchd does not follow its database within {OBEY_TIMEOUT_S:g} s"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="look whether ovs-vswitchd runs, and at its log")

    def _number(self, name: str) -> int:
        row = view.ports(self._client.replica).get(name)
        if row is not None and row.seen.ofport > 0:
            return row.seen.ofport
        said = row.seen.error if row is not None and row.seen.error else "it has no such port"
        message = f"the switch cannot use {name}: {said}"
        remedy = "look whether this netdev exists; a representor comes with its NIC"
        raise DpuError(Reason.NOT_FOUND, message, field="netdev", remedy=remedy, retry=True)

    def _done_with(self, name: str) -> None:
        self._busy.discard(name)
        try:
            replica = self._client.replica
        except DpuError:
            return  # the next copy is compared whole
        self._known = _owned(view.ports(replica))

    def _changed(self, replica: Replica) -> None:
        """Shields what is new, and tells when a port of ours changed and none of our calls did it."""
        self._seen = None
        now = _owned(view.ports(replica))
        before, self._known = self._known, now
        for name in sorted(before.keys() | now.keys()):
            port = now.get(name)
            if before.get(name) == port:
                continue
            self._news.tell(name)
            old = before.get(name)
            if port is not None and port.ofport > 0 and port.name != port.bridge and (not old or old.ofport <= 0):
                self._shield(name)
            if name not in self._busy and old is not None and _is_worse(old, port):
                self._lost(f"switch port {name} changed: {_story(port)}")

    def _shield(self, netdev: str) -> None:
        """In the userspace datapath the DPU's own stack hears a port's frames too: its addresses are not for hosts."""
        if self._datapath != USERSPACE:
            return
        try:
            if has_address(netdev):
                LOG.warning("port left open to this system, as it has an address", netdev=netdev)
            else:
                shield(netdev)
        except OSError as error:
            LOG.warning("port not shielded", netdev=netdev, error=str(error))


def _ovn_watch(beside: Path, run_dir: Path | None) -> VswitchdWatch:
    if run_dir is not None:
        return VswitchdWatch(run_dir, OVN_CONTROLLER)
    return VswitchdWatch(beside, OVN_CONTROLLER, elsewhere=OVN_RUN_DIR)


def _is_worse(old: SwitchPortSeen, now: SwitchPortSeen | None) -> bool:
    """Whether the audit should hear of a change that none of our calls made; a container's port may come good."""
    if now is None or not old.pod:
        return True
    fine = now.ofport > 0 and not now.error
    return not fine or replace(old, ofport=now.ofport, error=now.error, installed=now.installed) != now


def _owned(ports: dict[str, PortRow]) -> dict[str, SwitchPortSeen]:
    return {name: row.seen for name, row in ports.items() if row.owned}


def _story(port: SwitchPortSeen | None) -> str:
    if port is None:
        return "it is gone"
    return port.error or f"it is port {port.ofport} of {port.bridge}"


def _bridge_uuid(replica: Replica, bridge: str) -> str:
    found = view.bridges(replica).get(bridge)
    if found is None:
        message = f"there is no bridge {bridge}"
        raise DpuError(Reason.NOT_FOUND, message, field="bridge", remedy="make the bridge first", retry=True)
    return found
