"""The lab's inventory as Kubernetes-style objects: what an operator of real servers would write by hand."""

import base64
from pathlib import Path
from typing import Any

from lab import programs, topology
from lab.settings import ImageKind, LabSettings, Layout

API_VERSION = "dpupool.io/v1alpha1"
SYSTEM_NAMESPACE = "dpupool-system"
IMAGE_NAMES = {ImageKind.TINY: "tiny", ImageKind.DEBIAN: "debian-12"}
NETWORK = "fabric"
SUBNET = "machines"
PROBE_HOST = 250
FIRST_FREE_HOST = 10

Object = dict[str, Any]


def image_name(kind: ImageKind) -> str:
    """Name of the Image object, and of the file in the storage node's image folder but for its ending."""
    return IMAGE_NAMES[kind]


def image_file(kind: ImageKind) -> str:
    """File name in the storage node's image folder."""
    return f"{image_name(kind)}.img"


def objects(settings: LabSettings, layout: Layout, ca_file: Path) -> list[Object]:
    """Everything, in an order in which it can be applied."""
    numbers = range(1, settings.hosts + 1)
    found = [_namespace(SYSTEM_NAMESPACE), _namespace("default"), image(settings.image), *network()]
    found += [secret("bmc-ca", {"ca.crt": ca_file.read_text(encoding="utf-8")})]
    for number in numbers:
        password = programs.bmc_password_file(layout, number).read_text(encoding="utf-8").strip()
        found += [secret(f"bmc-{number}", {"username": programs.BMC_USER, "password": password})]
        found += [dpu(number), host(settings, number)]
    return found


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _ours(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def secret(name: str, values: dict[str, str]) -> Object:
    """A Secret of the system's namespace."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": name, "namespace": SYSTEM_NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def image(kind: ImageKind) -> Object:
    """The bootable image."""
    spec = {"backend": "file", "source": image_file(kind), "format": "raw", "firmware": "any"}
    return _ours("Image", image_name(kind), spec)


def network() -> list[Object]:
    """The machines' network; the addresses below .10 are the fabric's own."""
    subnet = {
        "networkRef": {"name": NETWORK},
        "cidr": str(topology.FABRIC),
        "gateway": str(topology.FABRIC[1]),
        "reserved": [f"{topology.FABRIC[1]}-{topology.FABRIC[FIRST_FREE_HOST - 1]}"],
        "probeAddress": str(topology.FABRIC[PROBE_HOST]),
    }
    return [_ours("Network", NETWORK, {"bridge": "br-int", "mtu": 1500}), _ours("Subnet", SUBNET, subnet)]


def dpu(number: int) -> Object:
    """A DPU: where its daemon answers."""
    return _ours("Dpu", f"dpu-{number}", {"address": f"{topology.dpu_address(number)}:{topology.DAEMON_PORT}"})


def host(settings: LabSettings, number: int) -> Object:
    """A bare-metal host with its DPU and BMC."""
    name = f"host-{number}"
    bmc = {
        "address": f"redfish+https://{topology.bmc_address(number)}:{topology.BMC_PORT}/redfish/v1/Systems/{name}",
        "credentialsSecretRef": {"namespace": SYSTEM_NAMESPACE, "name": f"bmc-{number}"},
        "caSecretRef": {"namespace": SYSTEM_NAMESPACE, "name": "bmc-ca"},
    }
    hardware = {"model": "lab", "cpus": 1, "memoryMiB": programs.HOST_MEMORY_MIB[settings.image]}
    made = _ours("BareMetalHost", name, {"dpuRef": {"name": f"dpu-{number}"}, "bmc": bmc, "hardware": hardware})
    made["metadata"]["labels"] = {"dpupool.io/lab": settings.name, "topology.dpupool.io/pool": programs.CSI_POOL}
    return made
