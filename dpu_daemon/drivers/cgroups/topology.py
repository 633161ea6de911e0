"""CPUs of this machine as the kernel describes them."""

import contextlib
from pathlib import Path

from dpu_daemon.model.cpu import CpuPlace
from proto.cpuset import members, parse

SYSTEM = Path("/sys/devices/system")


def read_cpus(system: Path = SYSTEM) -> list[CpuPlace]:
    """Every CPU with the units it belongs to, lowest first; ids of units are unique on the machine.

    Source: Documentation/admin-guide/cputopology.rst of Linux. A CPU that is offline shows no topology.
    """
    online = parse((system / "cpu" / "online").read_text(encoding="ascii"))
    present = parse((system / "cpu" / "present").read_text(encoding="ascii"))
    nodes = _numa_nodes(system)
    places, cores, caches = [], dict[tuple[int, int], int](), dict[tuple[int, str], int]()
    for cpu in members(present):
        home = system / "cpu" / f"cpu{cpu}"
        if not online >> cpu & 1:
            places.append(
                CpuPlace(cpu=cpu, core=-1, uncore_cache=-1, numa_node=nodes.get(cpu, 0), socket=-1, online=False)
            )
            continue
        socket = max(0, _number(home / "topology" / "physical_package_id"))
        core = (socket, _number(home / "topology" / "core_id"))
        shared = _last_cache(home)
        places.append(
            CpuPlace(
                cpu=cpu,
                core=cores.setdefault(core, len(cores)),
                uncore_cache=caches.setdefault((socket, shared), len(caches)),
                numa_node=nodes.get(cpu, 0),
                socket=socket,
                online=True,
            )
        )
    return places


def _numa_nodes(system: Path) -> dict[int, int]:
    found: dict[int, int] = {}
    for node in sorted((system / "node").glob("node[0-9]*")):
        for cpu in members(parse((node / "cpulist").read_text(encoding="ascii"))):
            found[cpu] = int(node.name.removeprefix("node"))
    return found


def _last_cache(home: Path) -> str:
    """CPUs that share the largest cache with this one, as the kernel lists them; empty where it does not say."""
    for index in sorted((home / "cache").glob("index[0-9]*"), reverse=True):
        with contextlib.suppress(OSError):
            return (index / "shared_cpu_list").read_text(encoding="ascii").strip()
    return ""


def _number(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
