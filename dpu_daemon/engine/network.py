"""Settings of a DPU's network."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """What ports are made of on this DPU.

    Attributes:
        bridge: the integration bridge.
        uplink: netdev towards the fabric, plugged into the bridge when it is there; empty for none.
        vf_pattern: name of a representor, with ``{n}`` for the index of its virtual function.
        vf_count: how many virtual functions this DPU has.
    """

    bridge: str
    uplink: str = ""
    vf_pattern: str = "pf0vf{n}"
    vf_count: int = 16

    def representors(self) -> frozenset[str]:
        """Every netdev that this daemon may plug as a host's port."""
        return frozenset(self.vf_pattern.format(n=n) for n in range(self.vf_count))
