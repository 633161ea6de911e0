"""Pods' ports as tests ask for them, with unremarkable defaults; pod N has port N, and container cN unless named."""

from contextlib import aclosing
from dataclasses import replace
from typing import Any

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.pod_ports import NodeSide
from dpu_daemon.model.assignment import NO_VF, Assignment, Holder, PodAddress, PortAsk, PortGrant
from dpu_daemon.model.port import LinkSeen
from tests.fakes.world import World

NODE, HOST = "dpu-1", "host-1"


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(seconds)


def assignment(number: int, **changes: Any) -> Assignment:
    """The port of pod N, for a container of this system itself unless another node is named."""
    low = f"{number // 250}.{number % 250 + 2}"
    made = Assignment(
        port_id=f"default.pod-{number}",
        generation=1,
        node=NODE,
        pod_namespace="default",
        pod_name=f"pod-{number}",
        pod_uid=f"uid-{number}",
        interface="eth0",
        network="pods",
        default_network=True,
        mac=f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}",
        addresses=(PodAddress(cidr=f"10.5.{low}/16", gateway="10.5.255.254"),),
        mtu=1400,
        wait_for_ovn=True,
    )
    return replace(made, **changes)


def ask(number: int, container: str = "", **changes: Any) -> PortAsk:
    """What pod N's runtime asks for."""
    made = PortAsk(
        container_id=container or f"c{number}",
        interface="eth0",
        pod_namespace="default",
        pod_name=f"pod-{number}",
        pod_uid=f"uid-{number}",
    )
    return replace(made, **changes)


def holder(number: int, container: str = "") -> Holder:
    """Who has port N."""
    return Holder(container or f"c{number}", "eth0")


def make_veth(world: World, grant: PortGrant) -> None:
    """What the container's side does between the two grants."""
    if grant.vf == NO_VF:
        link = LinkSeen(name=grant.representor, mac="02:00:00:00:ff:01", mtu=1500, up=False, carrier=True)
        world.state.links.setdefault(grant.representor, link)


async def acquire(side: NodeSide, world: World, what: PortAsk, deadline: Deadline | None = None) -> PortGrant:
    """A whole ADD on fakes, journalled to its end."""
    async with aclosing(side.acquire(what, deadline or soon())) as grants:
        make_veth(world, await anext(grants))
        grant = await anext(grants)
    await side.pods.settled()
    return grant
