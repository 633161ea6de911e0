"""Open vSwitch as an OffloadDriver: its database, its control socket, traffic control and the netdevs' features."""

import asyncio
import errno
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import structlog

from dpu_daemon.drivers.ethernet import interface_index
from dpu_daemon.drivers.offload import dpctl, features, filters
from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from dpu_daemon.model.offload import FlowSeen, Layer, Mark, OffloadSeen, PortSeen
from proto.errors import DpuError
from proto.ovsdb.replica import Replica
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

DUMP_TIMEOUT_S = 10.0
"""Printing ten thousand flows takes ovs-vswitchd some 100 ms, on a slow core ten times that."""

PATCH = "patch"
DUMMY = "dummy"
SYSTEM_KINDS = frozenset({"", "system"})
SKB_EXT = "CONFIG_NET_TC_SKB_EXT"
BOOT = Path("/boot")
_REASONS = {
    errno.EPERM: Reason.FORBIDDEN,
    errno.EACCES: Reason.FORBIDDEN,
    errno.ENODEV: Reason.NOT_FOUND,
    errno.ENXIO: Reason.NOT_FOUND,
}


class OvsOffload:
    """An OffloadDriver over the connections of the switch's driver.

    Args:
        switch: started and stopped by whoever owns it.
        datapath: as configured for bridges, ``netdev`` or ``system``.
    """

    def __init__(self, switch: OvsdbSwitch, *, datapath: str) -> None:
        self._switch = switch
        self._datapath = datapath

    async def enable(self) -> bool:
        """Sets ``other_config:hw-offload``; whether that was a change.

        Raises:
            DpuError: UNAVAILABLE, CONFLICT; the database does not answer or refuses.
        """
        if _asked_for(self._switch.database.replica):
            return False
        mutations = [
            ["other_config", "delete", ["set", ["hw-offload"]]],
            ["other_config", "insert", ["map", [["hw-offload", "true"]]]],
        ]
        await self._switch.database.transact(
            [
                {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": mutations},
                {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]},
            ]
        )
        return True

    async def prepare(self, netdev: str) -> bool:
        """Turns ``hw-tc-offload`` of a netdev on; whether it is on then.

        Raises:
            DpuError: NOT_FOUND when it is gone, FORBIDDEN or UNSUPPORTED when it will not.
        """
        try:
            return await asyncio.to_thread(features.turn_on, netdev)
        except OSError as error:
            reason = _REASONS.get(error.errno or 0, Reason.UNSUPPORTED)
            message = f"hw-tc-offload of {netdev} cannot be turned on: {error}"
            remedy = "look at `ethtool -k`, and at this process's rights"
            raise DpuError(reason, message, field="netdev", remedy=remedy) from error

    async def look(self) -> OffloadSeen:
        """One look; flows and rules cost a dump each.

        Raises:
            DpuError: UNAVAILABLE or DEADLINE; the switch does not answer.
        """
        replica = self._switch.database.replica
        enabled = _asked_for(replica)
        name = await self._datapath_name()
        if not name:
            return OffloadSeen(enabled=enabled, in_effect=None, datapath="", skb_ext=skb_ext())
        kind = name.partition("@")[0]
        dump = await self._ask("dpctl/dump-flows", "-m", "--names", name)
        found = await asyncio.to_thread(dpctl.read, dump)
        statistics = await self._told("dpctl/offload-stats-show", name)
        inserted, hits = dpctl.inserted(statistics), 0
        told = inserted is not None
        if kind == "system":
            told = dpctl.tells_of_offload(await self._ask("upcall/show"), name)
        else:
            hits = dpctl.marked_hits(await self._told("dpif-netdev/pmd-stats-show", name))
        ports = await asyncio.to_thread(_netdevs, _ports(replica), found.flows)
        return OffloadSeen(
            enabled=enabled,
            in_effect=in_effect(told=told, statistics=statistics),
            datapath=kind,
            flows=found.flows,
            ports=ports,
            hits_partial=hits,
            inserted=inserted,
            skb_ext=skb_ext(),
            unread=found.unread,
            unread_line=found.unread_line,
        )

    async def _datapath_name(self) -> str:
        """The datapath of our bridges; where the switch was started with a dummy one, that."""
        names = dpctl.datapaths(await self._ask("dpctl/dump-dps"))
        own = [name for name in names if name.partition("@")[0] == self._datapath]
        stand_in = [name for name in names if name.partition("@")[0] == DUMMY]
        return next(iter([*own, *stand_in]), "")

    async def _ask(self, command: str, *words: str) -> str:
        return await self._switch.vswitchd.ask(command, *words, timeout_s=DUMP_TIMEOUT_S)

    async def _told(self, command: str, *words: str) -> str:
        """The same, empty where the datapath has no such thing."""
        try:
            return await self._ask(command, *words)
        except DpuError as error:
            if error.reason is not Reason.UNSUPPORTED:
                raise
            return ""


def in_effect(*, told: bool, statistics: str) -> bool | None:
    """Whether ovs-vswitchd goes by its setting; None where it does not tell.

    Up to Open vSwitch 3.6 silence means no: the datapath in user space refuses to print statistics while it has no
    flow API, and the kernel's has none to print. From 3.7 on both always print something, and are silent about
    offload while no flow is in hardware, too.

    Args:
        told: offloaded flows were counted.
        statistics: what ``dpctl/offload-stats-show`` printed; empty when it was refused.
    """
    if told:
        return True
    return None if statistics else False


def _asked_for(replica: Replica) -> bool:
    """Whether hw-offload is set; in any case of letters, as ovs-vswitchd reads it."""
    rows = replica.rows("Open_vSwitch").values()
    return any(row["other_config"].get("hw-offload", "").lower() == "true" for row in rows)


def _ports(replica: Replica) -> list[PortSeen]:
    """What is plugged; patch ports are no places where frames enter a datapath."""
    return [
        PortSeen(netdev=row["name"], kind=row["type"] or "", port_id=row["external_ids"].get("iface-id", ""))
        for row in replica.rows("Interface").values()
        if row["type"] != PATCH
    ]


def _not_taken(flows: Iterable[FlowSeen]) -> frozenset[str]:
    """Ports with a flow that traffic control has and that is not said to be in hardware."""
    return frozenset(flow.in_port for flow in flows if flow.layer is Layer.TC and flow.mark is Mark.NONE)


def _netdevs(ports: list[PortSeen], flows: Iterable[FlowSeen]) -> tuple[PortSeen, ...]:
    """The same with what the kernel says of netdevs; rules are counted only where they can tell something."""
    count_rules_of = _not_taken(flows)
    try:
        tapped = filters.tapped()
    except OSError as error:
        LOG.warning("traffic control cannot be read", error=str(error))
        tapped = frozenset()
    return tuple(_netdev(port, tapped, counted=port.netdev in count_rules_of) for port in ports)


def _netdev(port: PortSeen, tapped: frozenset[int], *, counted: bool) -> PortSeen:
    index = interface_index(port.netdev)
    if not index or port.kind not in SYSTEM_KINDS:
        return port
    rules = filters.Rules()
    if counted:
        try:
            rules = filters.rules(index)
        except OSError as error:
            LOG.warning("rules cannot be counted", netdev=port.netdev, error=str(error))
    return PortSeen(
        netdev=port.netdev,
        kind=port.kind,
        port_id=port.port_id,
        driver=features.driver(port.netdev),
        feature=features.feature(port.netdev),
        taps=index in tapped,
        filters=rules.all,
        filters_in_hw=rules.in_hw,
    )


@cache
def skb_ext() -> bool | None:
    """Whether this kernel was built with NET_TC_SKB_EXT; None when its configuration is not there to be read."""
    file = BOOT / f"config-{os.uname().release}"
    try:
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return f"{SKB_EXT}=y" in lines
