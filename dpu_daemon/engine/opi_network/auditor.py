"""The audit of OPI network objects: what is not as wanted, and ports of ours that nobody wants."""

import asyncio
from collections.abc import Callable

from dpu_daemon.engine.opi.auditor import RankedAuditor
from dpu_daemon.engine.opi_network.intents import AskedNet
from dpu_daemon.engine.opi_network.objects import NetView, NetworkObjects
from dpu_daemon.engine.repair import Repair, RepairWork
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.opi_network import NET_RANKS, NetObject
from dpu_daemon.model.opi_network_seen import NetSeen
from dpu_daemon.plan.opi_network import plan_net, stray_owners
from dpu_daemon.plan.plan import Plan


class NetAuditor:
    """Compares all OPI network objects with one look.

    Args:
        objects: carries repairs to their end.
    """

    def __init__(self, objects: NetworkObjects) -> None:
        self._objects = objects
        self._ranked: RankedAuditor[NetObject, AskedNet, NetSeen, NetView] = RankedAuditor(
            objects, NET_RANKS, self._deciding, "opi network"
        )

    async def audit(self) -> tuple[Repair, ...]:
        """Objects that are not as wanted, and strays."""
        # Both share one look.
        seen, repairs = await asyncio.gather(self._objects.look(), self._ranked.audit())
        strays = sorted(stray_owners(self._objects.wanted, seen))
        return (
            *repairs,
            *(
                Repair(("opi", name), EventKind.OPI, name, f"{name}: in no journal", self._removal(name))
                for name in strays
            ),
        )

    def _deciding(self, seen: NetSeen) -> Callable[[NetObject], Plan]:
        wanted = self._objects.wanted
        return lambda record: plan_net(record, wanted, seen)

    def _removal(self, name: str) -> RepairWork:
        return lambda: self._objects.remove_stray(name)
