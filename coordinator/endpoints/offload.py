"""What is asked of a DPU or of a network node besides its object: where its switch forwards flows, and why."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from coordinator.clients.offload import FlowsAsked, Offload
from coordinator.core.objects.fleet import Dpu
from coordinator.core.objects.net import NetworkNode
from coordinator.endpoints.objects import Objects
from coordinator.endpoints.subresources import GROUP, VERSION, Action, Call
from proto.errors import DpuError
from proto.reasons import Reason

MOST_FLOWS = 2000
YES = frozenset({"true", "1"})


class Switches(Protocol):
    """Daemons that own a switch, by address."""

    def offload(self, name: str, address: str, server_name: str) -> Offload: ...


class OffloadActions:
    """Answers for what has a switch.

    Args:
        objects: the API.
        switches: the daemons.
    """

    def __init__(self, objects: Objects, switches: Switches) -> None:
        self._objects = objects
        self._switches = switches

    async def show(self, call: Call, query: Mapping[str, str]) -> dict[str, Any]:
        """The report of a switch; with ``flows=N`` its heaviest flows, too.

        Args:
            call: which DPU or node.
            query: ``flows`` (how many), ``software=true`` (those outside hardware alone), ``port`` (that enter there).

        Raises:
            DpuError: NOT_FOUND; INVALID for a count; UNSUPPORTED, the daemon has no switch; UNAVAILABLE.
        """
        asked = flows_asked(query)
        daemon = await self._daemon(call)
        report = await daemon.offload()
        body: dict[str, Any] = {
            "kind": "SwitchOffload",
            "apiVersion": f"{GROUP}/{VERSION}",
            "metadata": {"name": call.name},
            "offload": msgspec.to_builtins(report),
        }
        if asked is not None:
            body["flows"] = msgspec.to_builtins(await daemon.flows(asked))
        return body

    async def _daemon(self, call: Call) -> Offload:
        if call.action is Action.NODE_OFFLOAD:
            node = NetworkNode.parse(await self._objects.network_node(call.name))
            name = node.spec.server_name or node.metadata.name
            return self._switches.offload(f"node {node.metadata.name}", node.spec.address, name)
        dpu = Dpu.parse(await self._objects.dpu(call.name))
        return self._switches.offload(f"DPU {dpu.metadata.name}", dpu.spec.address, dpu.server_name)


def flows_asked(query: Mapping[str, str]) -> FlowsAsked | None:
    """Which flows a query wants; None when it wants none.

    Raises:
        DpuError: INVALID; ``flows`` is no count.
    """
    count = query.get("flows", "")
    if not count:
        return None
    if not count.isdecimal() or len(count) > len(str(MOST_FLOWS)) or not 0 < int(count) <= MOST_FLOWS:
        message = f"{count[:40]!r} is no number of flows"
        raise DpuError(Reason.INVALID, message, field="flows", remedy=f"give 1 to {MOST_FLOWS}")
    return FlowsAsked(limit=int(count), software_only=query.get("software") in YES, netdev=query.get("port", ""))
