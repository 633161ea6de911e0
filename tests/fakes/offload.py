"""A switch that may have hardware, in memory: what a look shows, and what was asked of it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from dpu_daemon.engine.offload import OffloadParts, OffloadSettings
from dpu_daemon.model.offload import Feature, FlowSeen, Layer, Mark, OffloadSeen, PortSeen
from proto.errors import DpuError
from proto.reasons import Reason


def a_flow(number: int = 1, **more: object) -> FlowSeen:
    """A flow that the hardware took, unless told otherwise."""
    fields: dict[str, object] = {
        "ufid": f"ufid-{number}", "in_port": "rep0", "match": f"recirc_id(0),in_port(rep0),ipv4(dst=10.0.0.{number})",
        "actions": "p0", "packets": 100, "bytes": 9000, "layer": Layer.TC, "mark": Mark.FULL,
    }  # fmt: skip
    return FlowSeen(**{**fields, **more})  # type: ignore[arg-type]


class FakeOffload:
    """An OffloadDriver.

    Attributes:
        seen: what a look shows; the setting and the features follow what is asked.
        unwilling: netdevs whose feature cannot be turned on; `gone`: that are not there when this is tried.
        down: the switch does not answer.
        takes_s: how long a look takes, by the clock that `turn` turns.
    """

    def __init__(self) -> None:
        port = PortSeen(netdev="rep0", port_id="default.web-0", driver="mlx5e_rep", feature=Feature.OFF, taps=True)
        self.seen = OffloadSeen(enabled=False, in_effect=False, datapath="system", ports=(port,))
        self.unwilling: set[str] = set()
        self.gone: set[str] = set()
        self.down = False
        self.looks = 0
        self.takes_s = 0.0
        self.turn: Callable[[float], None] = lambda _seconds: None
        self.looked = asyncio.Event()
        self.prepared: list[str] = []

    def parts(self, *, enabled: bool = True, heavy_packets: int = 50, look_s: float = 3600.0) -> OffloadParts:
        """For an engine."""
        return OffloadParts(self, OffloadSettings(enabled=enabled, heavy_packets=heavy_packets, look_s=look_s))

    def flows(self, *flows: FlowSeen) -> None:
        """What the datapath has now."""
        self.seen = replace(self.seen, flows=flows)

    async def enable(self) -> bool:
        self._answer()
        before, self.seen = self.seen, replace(self.seen, enabled=True, in_effect=True)
        return not before.enabled

    async def prepare(self, netdev: str) -> bool:
        self._answer()
        self.prepared.append(netdev)
        if netdev in self.gone:
            raise DpuError(Reason.NOT_FOUND, f"hw-tc-offload of {netdev} cannot be turned on: No such device")
        if netdev in self.unwilling:
            raise DpuError(Reason.UNSUPPORTED, f"hw-tc-offload of {netdev} cannot be turned on", field="netdev")
        ports = (replace(port, feature=Feature.ON) if port.netdev == netdev else port for port in self.seen.ports)
        self.seen = replace(self.seen, ports=tuple(ports))
        return True

    async def look(self) -> OffloadSeen:
        self.turn(self.takes_s)
        self._answer()
        self.looks += 1
        self.looked.set()
        return self.seen

    def _answer(self) -> None:
        if self.down:
            raise DpuError(Reason.UNAVAILABLE, "ovs-vswitchd is not reachable: it closed the connection")
