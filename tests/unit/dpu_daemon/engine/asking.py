"""What callers of the engine ask for, with unremarkable defaults."""

from dataclasses import replace
from typing import Any

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.intent import AskedDisk
from dpu_daemon.model.disk import AttachmentSpec, DiskProtocol
from dpu_daemon.model.port import PortSpec
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.world import World

MIB = 1 << 20
SEED = {"user-data": "#!/bin/sh\n", "meta-data": "instance-id: bm-01\n"}
AWAY = DpuError(Reason.UNAVAILABLE, "the other side is away")


def soon() -> Deadline:
    """A deadline that no test reaches."""
    return Deadline.after(30)


def disk(world: World, name: str = "a", generation: int = 1, **changes: Any) -> AskedDisk:
    """A disk whose volume a storage node serves."""
    source = world.serve(name, max(world.state.exports.get(name, 0), changes.get("size_bytes", MIB)))
    spec = AttachmentSpec(
        volume_id=f"vol-{name}",
        size_bytes=MIB,
        source=source,
        protocol=DiskProtocol.VIRTIO_BLK,
        serial="",
        nguid="",
    )
    return AskedDisk(attachment_id=f"att-{name}", generation=generation, spec=replace(spec, **changes))


def port(n: int = 1, **changes: Any) -> PortSpec:
    """A port with a MAC of its own."""
    spec = PortSpec(mac=f"02:00:00:00:01:{n:02x}", addresses=("10.77.0.11/24",), network_id="net-1", bridge="")
    return replace(spec, **changes)
