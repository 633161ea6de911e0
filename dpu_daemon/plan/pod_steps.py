"""Steps of pods' ports."""

from collections.abc import Mapping
from dataclasses import dataclass

from dpu_daemon.model.pod_port import PodPlug
from dpu_daemon.plan.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseLink(Step):
    netdev: str
    mtu: int = 0

    def says(self) -> str:
        return f"bring {self.netdev} up" + (f" with MTU {self.mtu}" if self.mtu else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugPod(Step):
    """Also puts right a port that is there with another identity or limit."""

    plug: PodPlug

    def says(self) -> str:
        return f"plug {self.plug.netdev} into {self.plug.bridge} as {self.plug.port_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnplugPod(Step):
    netdev: str
    port_id: str

    def says(self) -> str:
        return f"unplug {self.netdev} of {self.port_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropLimits(Step):
    names: tuple[str, ...]

    def says(self) -> str:
        return f"drop {len(self.names)} limits that no port has"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBridge(Step):
    bridge: str
    datapath: str
    secure: bool

    def says(self) -> str:
        return f"make bridge {self.bridge} with datapath {self.datapath}, {'secure' if self.secure else 'standalone'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetChassis(Step):
    chassis: Mapping[str, str]

    def says(self) -> str:
        return f"tell ovn-controller {', '.join(sorted(self.chassis))}"
