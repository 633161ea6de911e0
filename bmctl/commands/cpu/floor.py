"""A node's CPUs as a plan: sockets, NUMA nodes, cores, threads, and a colour for every holder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bmctl.commands.cpu.service import Use
from bmctl.objects import Object
from proto.cpuset import mask_of, show


@dataclass(frozen=True, slots=True)
class Thread:
    """A logical CPU; `holder` is who has it alone."""

    cpu: int
    use: Use
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Core:
    """A core and its threads."""

    core: int
    threads: Sequence[Thread]


@dataclass(frozen=True, slots=True)
class Numa:
    """A NUMA node and its cores."""

    numa: int
    cores: Sequence[Core]


@dataclass(frozen=True, slots=True)
class Socket:
    """A socket and its NUMA nodes."""

    socket: int
    numas: Sequence[Numa]


@dataclass(frozen=True, slots=True)
class Floor:
    """A node. `holders` have CPUs alone: name to CPUs, by their first; `guests` run in the shared pool besides."""

    node: str
    mode: str
    sockets: Sequence[Socket]
    holders: Mapping[str, str]
    guests: Sequence[str]
    shared: str
    reserved: str
    exclusive_room: int
    shared_room: int
    memory_room_bytes: int


def floor_of(answer: Object) -> Floor:
    """The plan of what the placement service says of a node."""
    cpus = sorted(answer.get("cpus") or [], key=lambda one: int(one.get("cpu", 0)))
    tree: dict[int, dict[int, dict[int, list[Thread]]]] = {}
    held: dict[str, list[int]] = {}
    guests: dict[str, None] = {}
    for one in cpus:
        thread = Thread(int(one.get("cpu", 0)), Use(one.get("use", Use.SHARED.value)), str(one.get("holder", "")))
        numas = tree.setdefault(int(one.get("socket", 0)), {})
        numas.setdefault(int(one.get("numaNode", 0)), {}).setdefault(int(one.get("core", 0)), []).append(thread)
        if thread.holder:
            held.setdefault(thread.holder, []).append(thread.cpu)
        guests |= dict.fromkeys(map(str, one.get("others") or []))
    sockets = [
        Socket(
            socket,
            [Numa(numa, [Core(core, cores[core]) for core in sorted(cores)]) for numa, cores in sorted(numas.items())],
        )
        for socket, numas in sorted(tree.items())
    ]
    return Floor(
        node=str(answer.get("node", "")),
        mode=str(answer.get("mode", "")),
        sockets=sockets,
        holders={name: show(mask_of(cpus)) for name, cpus in sorted(held.items(), key=lambda one: min(one[1]))},
        guests=sorted(guests),
        shared=str(answer.get("sharePool", "")),
        reserved=str(answer.get("reserved", "")),
        exclusive_room=int(answer.get("exclusiveRoom", 0)),
        shared_room=int(answer.get("sharedRoom", 0)),
        memory_room_bytes=int(answer.get("memoryRoomBytes", 0)),
    )
