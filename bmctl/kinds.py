"""The kinds that bmctl knows by name, and where the API keeps them."""

from dataclasses import dataclass

GROUP = "dpupool.io"
VERSION = "v1alpha1"
SUBRESOURCES_GROUP = "subresources.dpupool.io"


@dataclass(frozen=True)
class Kind:
    """A kind of object and its place in the API.

    Attributes:
        kind: name in manifests.
        group: API group; empty for the core group.
        version: API version.
        plural: name in paths.
        namespaced: whether its objects live in a namespace.
        names: what a person may type for it, the best first.
    """

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool
    names: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """``apiVersion`` of its manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def word(self) -> str:
        """Singular word for messages, such as ``machine``."""
        return self.names[1] if len(self.names) > 1 else self.kind.lower()

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Path of the collection, or of one object of it.

        Args:
            namespace: ignored for cluster-scoped kinds; None for all namespaces.
            name: None for the collection.
        """
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


def _own(kind: str, plural: str, names: tuple[str, ...], *, namespaced: bool = False) -> Kind:
    return Kind(kind, GROUP, VERSION, plural, namespaced, names)


MACHINE = _own("BareMetalMachine", "baremetalmachines", ("machines", "machine", "bmm"), namespaced=True)
HOST = _own("BareMetalHost", "baremetalhosts", ("hosts", "host", "bmh"))
DPU = _own("Dpu", "dpus", ("dpus", "dpu"))
VOLUME = _own("Volume", "volumes", ("volumes", "volume", "vol"), namespaced=True)
ATTACHMENT = _own("VolumeAttachment", "volumeattachments", ("attachments", "attachment", "volatt"), namespaced=True)
SNAPSHOT = _own("Snapshot", "snapshots", ("snapshots", "snapshot", "snap"), namespaced=True)
IMAGE = _own("Image", "images", ("images", "image", "img"))
NETWORK = _own("Network", "networks", ("networks", "network", "net"))
SUBNET = _own("Subnet", "subnets", ("subnets", "subnet", "sn"))
POOL = _own("ServerPool", "serverpools", ("pools", "pool", "spool"))
CPU_NODE = _own("CpuNode", "cpunodes", ("cpunodes", "cpunode", "cpun"))
CPU_PLACEMENT = _own("CpuPlacement", "cpuplacements", ("cpuplacements", "cpuplacement", "cpup"), namespaced=True)
PLACEMENT_POLICY = _own("PlacementPolicy", "placementpolicies", ("placementpolicies", "placementpolicy", "cpupol"))
RESIZE_POLICY = _own("ResizePolicy", "resizepolicies", ("resizepolicies", "resizepolicy", "rsp"), namespaced=True)
PORT = _own("Port", "ports", ("ports", "port", "pport"), namespaced=True)
NETWORK_NODE = _own("NetworkNode", "networknodes", ("networknodes", "networknode", "nn"))
SECURITY_GROUP = _own("SecurityGroup", "securitygroups", ("securitygroups", "securitygroup", "secg"), namespaced=True)
EVENT = Kind("Event", "", "v1", "events", namespaced=True, names=("events", "event", "ev"))
POD = Kind("Pod", "", "v1", "pods", namespaced=True, names=("pods", "pod", "po"))

OWN = (
    MACHINE, HOST, DPU, VOLUME, SNAPSHOT, ATTACHMENT, IMAGE, NETWORK, SUBNET, POOL,
    CPU_NODE, CPU_PLACEMENT, PLACEMENT_POLICY, RESIZE_POLICY, PORT, NETWORK_NODE, SECURITY_GROUP,
)  # fmt: skip
KNOWN = (
    *OWN,
    EVENT,
    Kind("Namespace", "", "v1", "namespaces", namespaced=False, names=("namespaces", "namespace", "ns")),
    Kind("Secret", "", "v1", "secrets", namespaced=True, names=("secrets", "secret")),
    Kind("ConfigMap", "", "v1", "configmaps", namespaced=True, names=("configmaps", "configmap", "cm")),
    Kind("Node", "", "v1", "nodes", namespaced=False, names=("nodes", "node", "no")),
    POD,
    Kind("Service", "", "v1", "services", namespaced=True, names=("services", "service", "svc")),
    Kind("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices", namespaced=True, names=("endpointslices",)),
    Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies", namespaced=True, names=("netpol",)),
    Kind(
        "NetworkAttachmentDefinition",
        "k8s.cni.cncf.io",
        "v1",
        "network-attachment-definitions",
        namespaced=True,
        names=("net-attach-def",),
    ),
    Kind("Lease", "coordination.k8s.io", "v1", "leases", namespaced=True, names=("leases", "lease")),
)


def named(word: str) -> Kind | None:
    """The kind that a person means by ``word``, in any case, or None."""
    wanted = word.lower()
    return next((k for k in KNOWN if wanted in (*k.names, k.plural, k.kind.lower())), None)


def of_manifest(api_version: str, kind: str) -> Kind | None:
    """The known kind of a manifest, or None."""
    return next((k for k in KNOWN if k.kind == kind and k.api_version == api_version), None)
