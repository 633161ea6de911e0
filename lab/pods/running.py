"""A pod of the lab: an object as the scheduler leaves it, and a namespace that our CNI plug-in gives its network."""

import contextlib
import json
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import namespace
from lab.client import LabApi
from lab.pods.programs import cni_socket
from lab.settings import Layout
from proto.errors import DpuError
from proto.reasons import Reason

PLUGIN = Path(sys.executable).parent / "dpu-cni"
INTERFACE = "eth0"
CALL_S = 60.0
NETCONF = {"cniVersion": "1.0.0", "name": "dpupool", "type": "dpu-cni"}
Object = dict[str, Any]


@dataclass(frozen=True)
class LabPod:
    """A pod by its name; `node` is where it runs, counted from 1."""

    lab: str
    name: str
    node: int

    @property
    def netns(self) -> str:
        return f"{self.lab}-pod-{self.name}"


def start(api: LabApi, layout: Layout, pod: LabPod, labels: dict[str, str]) -> list[str]:
    """Make the pod and give it its network; its addresses.

    Raises:
        DpuError: what the plug-in, or the API, answered; nothing of the pod is left then.
    """
    metadata = {"name": pod.name, "namespace": "default", "labels": labels}
    spec = {"nodeName": f"node-{pod.node}", "containers": [{"name": "main", "image": "none"}]}
    made = api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    namespace.create(pod.netns)
    try:
        said = call(layout, pod, "ADD", made["metadata"]["uid"])
    except DpuError:
        remove(api, layout, pod)
        raise
    addresses = [str(one["address"]).partition("/")[0] for one in said["ips"]]
    status = {"phase": "Running", "podIP": addresses[0], "podIPs": [{"ip": one} for one in addresses]}
    api.merge(api.path("v1", "Pod", pod.name, "default") + "/status", {"status": status})
    return addresses


def remove(api: LabApi, layout: Layout, pod: LabPod) -> None:
    """Take the pod's network away, then the pod; absent is fine.

    Raises:
        DpuError: what the plug-in answered; the same call may be repeated.
    """
    path = api.path("v1", "Pod", pod.name, "default")
    found = api.get(path)
    call(layout, pod, "DEL", str(found["metadata"]["uid"]) if found else "")
    api.delete(path)
    namespace.remove(pod.netns)


def call(layout: Layout, pod: LabPod, verb: str, uid: str) -> Object:
    """One call of the plug-in, as a container runtime makes it."""
    known = {"K8S_POD_NAMESPACE": "default", "K8S_POD_NAME": pod.name, "K8S_POD_UID": uid, "IgnoreUnknown": "1"}
    environment = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": uuid.uuid5(uuid.NAMESPACE_OID, f"{pod.netns}/{uid}").hex,
        "CNI_NETNS": str(namespace.NETNS_DIR / pod.netns) if namespace.exists(pod.netns) else "",
        "CNI_IFNAME": INTERFACE,
        "CNI_ARGS": ";".join(f"{key}={value}" for key, value in known.items()),
        "CNI_PATH": str(PLUGIN.parent),
        "DPUPOOL_CNI_SOCKET": str(cni_socket(layout, pod.node)),
    }
    config = json.dumps(NETCONF).encode()
    done = subprocess.run([PLUGIN], input=config, env=environment, capture_output=True, check=False, timeout=CALL_S)
    said: Object = {}
    with contextlib.suppress(ValueError):
        said = json.loads(done.stdout or b"{}")
    if done.returncode:
        words = said.get("msg") or done.stderr.decode(errors="replace")
        raise DpuError(Reason.UNAVAILABLE, f"{verb} of pod {pod.name}: {words}", remedy=str(said.get("details", "")))
    return said
