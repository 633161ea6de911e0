"""Printed columns of the plain kinds, as kubectl's users know them."""

from typing import Any

from coordinator.api.columns import AGE, age, path_column
from coordinator.api.kinds import Column
from coordinator.api.objects import Obj, dig


def _conditions(obj: Obj) -> dict[str, str]:
    found = dig(obj, "status", "conditions") or []
    return {str(each.get("type")): str(each.get("status")) for each in found if isinstance(each, dict)}


def _node_status(obj: Obj) -> str:
    ready = _conditions(obj).get("Ready")
    status = {"True": "Ready", "False": "NotReady"}.get(ready or "", "Unknown")
    return f"{status},SchedulingDisabled" if dig(obj, "spec", "unschedulable") else status


def _node_roles(obj: Obj) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    roles = sorted(label.removeprefix(prefix) for label in labels if label.startswith(prefix))
    return ",".join(role for role in roles if role) or "<none>"


def _node_address(obj: Obj) -> str:
    for entry in dig(obj, "status", "addresses") or ():
        if entry.get("type") == "InternalIP":
            return str(entry.get("address"))
    return "<none>"


NODE = (
    Column("Status", "string", _node_status),
    Column("Roles", "string", _node_roles),
    AGE,
    path_column("Version", ".status.nodeInfo.kubeletVersion"),
    Column("Internal-IP", "string", _node_address, priority=1),
    path_column("OS-Image", ".status.nodeInfo.osImage", priority=1),
    path_column("Kernel-Version", ".status.nodeInfo.kernelVersion", priority=1),
)


def _pod_ready(obj: Obj) -> str:
    statuses = dig(obj, "status", "containerStatuses") or []
    total = len(dig(obj, "spec", "containers") or [])
    return f"{sum(bool(each.get('ready')) for each in statuses)}/{total}"


def _pod_status(obj: Obj) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(dig(obj, "status", "reason") or dig(obj, "status", "phase") or "Pending")


def _pod_restarts(obj: Obj) -> str:
    return str(sum(int(each.get("restartCount", 0)) for each in dig(obj, "status", "containerStatuses") or ()))


POD = (
    Column("Ready", "string", _pod_ready),
    Column("Status", "string", _pod_status),
    Column("Restarts", "string", _pod_restarts),
    AGE,
    path_column("IP", ".status.podIP", priority=1),
    path_column("Node", ".spec.nodeName", priority=1),
)


def _data_count(obj: Obj) -> int:
    return len(obj.get("data") or {}) + len(obj.get("binaryData") or {})


SECRET = (
    Column("Type", "string", lambda obj: obj.get("type") or "Opaque"),
    Column("Data", "integer", _data_count),
    AGE,
)
CONFIG_MAP = (Column("Data", "integer", _data_count), AGE)


def _service_ports(obj: Obj) -> str:
    ports = dig(obj, "spec", "ports") or []
    return ",".join(f"{port.get('port')}/{port.get('protocol', 'TCP')}" for port in ports) or "<none>"


SERVICE = (
    Column("Type", "string", lambda obj: dig(obj, "spec", "type") or "ClusterIP"),
    Column("Cluster-IP", "string", lambda obj: dig(obj, "spec", "clusterIP") or "None"),
    Column("External-IP", "string", lambda obj: ",".join(dig(obj, "spec", "externalIPs") or []) or "<none>"),
    Column("Port(s)", "string", _service_ports),
    AGE,
)
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _claim_modes(obj: Obj) -> str:
    modes = dig(obj, "status", "accessModes") or dig(obj, "spec", "accessModes") or []
    return ",".join(_MODES.get(mode, str(mode)) for mode in modes)


CLAIM = (
    path_column("Status", ".status.phase"),
    path_column("Volume", ".spec.volumeName"),
    path_column("Capacity", ".status.capacity.storage"),
    Column("Access Modes", "string", _claim_modes),
    path_column("StorageClass", ".spec.storageClassName"),
    AGE,
)


def _last_seen(obj: Obj) -> str:
    times: list[Any] = [dig(obj, "series", "lastObservedTime"), obj.get("lastTimestamp"), obj.get("eventTime")]
    times += [obj.get("deprecatedLastTimestamp"), obj["metadata"].get("creationTimestamp")]
    return age(next((time for time in times if time), None))


def _object_of(name: str) -> Any:
    def cell(obj: Obj) -> str:
        found = obj.get(name) or {}
        return f"{str(found.get('kind', '')).lower()}/{found.get('name', '')}"

    return cell


EVENT = (
    Column("Last Seen", "string", _last_seen),
    path_column("Type", ".type"),
    path_column("Reason", ".reason"),
    Column("Object", "string", _object_of("involvedObject")),
    path_column("Source", ".source.component", priority=1),
    path_column("Message", ".message"),
    path_column("Count", ".count", "integer", priority=1),
)
EVENT_V1 = (
    Column("Last Seen", "string", _last_seen),
    path_column("Type", ".type"),
    path_column("Reason", ".reason"),
    Column("Object", "string", _object_of("regarding")),
    path_column("Message", ".note"),
)


def _slice_ports(obj: Obj) -> str:
    ports = obj.get("ports") or []
    return ",".join(str(port.get("port", "")) for port in ports) or "<unset>"


def _slice_endpoints(obj: Obj) -> str:
    listed = [str(each) for entry in obj.get("endpoints") or () for each in entry.get("addresses") or ()]
    more = f" + {len(listed) - 3} more..." if len(listed) > 3 else ""
    return ",".join(listed[:3]) + more or "<unset>"


ENDPOINT_SLICE = (
    path_column("AddressType", ".addressType"),
    Column("Ports", "string", _slice_ports),
    Column("Endpoints", "string", _slice_endpoints),
    AGE,
)
_OPERATORS = {"In": "in", "NotIn": "notin"}


def _selector(selector: Obj) -> str:
    terms = [f"{name}={value}" for name, value in sorted((selector.get("matchLabels") or {}).items())]
    for term in selector.get("matchExpressions") or ():
        values = f"({','.join(sorted(term.get('values') or ()))})"
        word = _OPERATORS.get(term.get("operator", ""))
        plain = term["key"] if term.get("operator") == "Exists" else f"!{term['key']}"
        terms.append(f"{term['key']} {word} {values}" if word else plain)
    return ",".join(terms) or "<none>"


NETWORK_POLICY = (
    Column("Pod-Selector", "string", lambda obj: _selector(dig(obj, "spec", "podSelector") or {})),
    AGE,
)
