"""What a machine could leave behind, looked for where it would be: files, exports, ports, processes, objects."""

import subprocess
from pathlib import Path

from lab import namespace, topology
from lab.client import LabApi
from lab.inventory import API_VERSION, SUBNET
from lab.qemu import Qemu
from lab.settings import LabSettings, Layout
from proto.errors import DpuError
from proto.reasons import Reason

Found = dict[str, frozenset[str]]
TIMEOUT_S = 30


def look(settings: LabSettings, layout: Layout, qemu: Qemu, api: LabApi) -> Found:
    """Everything that is there now, by kind of thing."""
    found = {
        "files of volumes": _files(layout.state_of("storage") / "volumes"),
        "exports of the storage node": _exports(settings, layout, qemu),
        "virtual hosts": _hosts(settings),
        "addresses": _addresses(api),
        "Volumes": _names(api, "Volume"),
        "VolumeAttachments": _names(api, "VolumeAttachment"),
    }
    for number in range(1, settings.hosts + 1):
        found[f"switch ports of dpu-{number}"] = _ports(layout, number)
        found[f"seed disks of dpu-{number}"] = _files(layout.state_of(f"dpu-{number}") / "seeds")
    return found


def left(before: Found, after: Found) -> list[str]:
    """What is there now and was not before, one sentence each."""
    return [f"{kind}: {', '.join(sorted(new))}" for kind, now in after.items() if (new := now - before[kind])]


def _files(folder: Path) -> frozenset[str]:
    return frozenset(path.name for path in folder.iterdir())


def _run(netns: str, command: list[str]) -> str:
    with namespace.entered(netns):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise DpuError(Reason.UNAVAILABLE, f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _exports(settings: LabSettings, layout: Layout, qemu: Qemu) -> frozenset[str]:
    """Export names, asked as a client on the storage network would that has the key of some DPU."""
    keys = layout.state_of("storage") / "credentials" / "psk"
    try:
        known = (keys / "keys.psk").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        known = []
    if not known:
        return frozenset()  # nobody has a key: nothing can be exported
    who = known[0].partition(":")[0]
    address = topology.storage_address(topology.STORAGE)
    command = [str(qemu.img.with_name("qemu-nbd")), "--list", "--bind", address, "--port", str(topology.NBD_PORT)]
    command += ["--object", f"tls-creds-psk,id=tls,endpoint=client,dir={keys},username={who}", "--tls-creds", "tls"]
    try:
        lines = _run(f"{settings.name}-dpu1", command).splitlines()
    except DpuError as error:
        if "Connection refused" not in str(error):
            raise
        return frozenset()  # nobody listens: nothing is exported
    return frozenset(line.split("'")[1] for line in lines if line.strip().startswith("export:"))


def _ports(layout: Layout, number: int) -> frozenset[str]:
    """Functions of the host that are plugged; uplink and probe port are the switch's own."""
    database = layout.run_of(f"dpu-{number}") / "db.sock"
    ports = _run("", ["ovs-vsctl", f"--db=unix:{database}", "--timeout=10", "list-ports", "br-int"]).split()
    own = {topology.VF_PATTERN.format(n=vf) for vf in range(topology.VF_COUNT)}
    return frozenset(own & set(ports))


def _hosts(settings: LabSettings) -> frozenset[str]:
    """Running QEMUs, by process id."""
    found = set()
    for pid in namespace.inhabitants(namespace.of_lab(settings.name)):
        try:
            name = (Path("/proc") / str(pid) / "comm").read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if name.startswith("qemu-system"):
            found.add(str(pid))
    return frozenset(found)


def _names(api: LabApi, kind: str) -> frozenset[str]:
    items = (api.get(api.path(API_VERSION, kind)) or {}).get("items", [])
    return frozenset(f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in items)


def _addresses(api: LabApi) -> frozenset[str]:
    subnet = api.get(api.path(API_VERSION, "Subnet", SUBNET)) or {}
    return frozenset(each["address"] for each in subnet.get("status", {}).get("allocations", []))
