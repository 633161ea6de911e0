"""Kinds of Kubernetes' own that are looked at or made; not every API server has all of them."""

from enum import Enum

_GROUPS = {
    "PodDisruptionBudget": "policy",
    "ReplicaSet": "apps",
    "StatefulSet": "apps",
    "DaemonSet": "apps",
    "Job": "batch",
    "Lease": "coordination.k8s.io",
    "EndpointSlice": "discovery.k8s.io",
    "NetworkPolicy": "networking.k8s.io",
    "NetworkAttachmentDefinition": "k8s.cni.cncf.io",
}
_PLURALS = {
    "NetworkPolicy": "networkpolicies",
    "NetworkAttachmentDefinition": "network-attachment-definitions",
}


class Foreign(Enum):
    """Kinds by the name that manifests use; all are of version v1."""

    NODE = "Node"
    POD = "Pod"
    BUDGET = "PodDisruptionBudget"
    REPLICA_SET = "ReplicaSet"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"
    JOB = "Job"
    REPLICATION_CONTROLLER = "ReplicationController"
    CLAIM = "PersistentVolumeClaim"
    VOLUME = "PersistentVolume"
    LEASE = "Lease"
    NAMESPACE = "Namespace"
    SERVICE = "Service"
    ENDPOINT_SLICE = "EndpointSlice"
    NETWORK_POLICY = "NetworkPolicy"
    ATTACHMENT_DEFINITION = "NetworkAttachmentDefinition"

    @property
    def group(self) -> str:
        """API group, empty for the core group."""
        return _GROUPS.get(self.value, "")

    @property
    def plural(self) -> str:
        """Name in URLs."""
        return _PLURALS.get(self.value, f"{self.value.lower()}s")

    @property
    def api_version(self) -> str:
        """``apiVersion`` of its manifests."""
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def namespaced(self) -> bool:
        """Whether its objects live in namespaces."""
        return self not in {Foreign.NODE, Foreign.VOLUME, Foreign.NAMESPACE}


CONTROLLERS = (
    Foreign.REPLICA_SET,
    Foreign.STATEFUL_SET,
    Foreign.DAEMON_SET,
    Foreign.JOB,
    Foreign.REPLICATION_CONTROLLER,
)
