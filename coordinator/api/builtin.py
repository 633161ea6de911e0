"""The plain kinds of Kubernetes that are served: storage, columns and the lists that merge by key.

Their schemas name only what merging and explain need; everything else is kept as it is sent.
"""

from typing import Any

from coordinator.api import printing
from coordinator.api.columns import AGE, path_column
from coordinator.api.eventview import EVENTS_VIEW
from coordinator.api.kinds import READ_ONLY, Kind
from coordinator.api.metadata_schema import OBJECT_META, conditions
from coordinator.api.objects import Obj

EVENT_TTL_S = 3600
CRD_STORAGE = "customresourcedefinitions.apiextensions.k8s.io"

_ANY: Obj = {"x-kubernetes-preserve-unknown-fields": True}


def _listing(key: str, **members: Obj) -> Obj:
    """A list whose items are told apart by one field."""
    item: Obj = {"type": "object", "properties": members} | _ANY
    return {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def _section(description: str, **members: Obj) -> Obj:
    return {"type": "object", "description": description, "properties": members} | _ANY


def _whole(description: str, **members: Obj) -> Obj:
    header: Obj = {
        "apiVersion": {"type": "string", "description": "Version of this schema."},
        "kind": {"type": "string", "description": "Kind of the object."},
        "metadata": OBJECT_META,
    }
    return {"type": "object", "description": description, "properties": header | members} | _ANY


_STRINGS: Obj = {"type": "object", "additionalProperties": {"type": "string"}}
_CONTAINERS = _listing(
    "name", env=_listing("name"), volumeMounts=_listing("mountPath"), volumeDevices=_listing("devicePath")
)
_POD_SPEC = _section(
    "What shall run where.",
    containers=_CONTAINERS,
    initContainers=_CONTAINERS,
    volumes=_listing("name"),
    hostAliases=_listing("ip"),
    imagePullSecrets=_listing("name"),
)
_NODE_SPEC = _section(
    "The node wanted.", podCIDRs={"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}
)


def _core(kind: str, plural: str, **more: Any) -> Kind:
    settings: dict[str, Any] = {"namespaced": True, "storage": plural, "version": "v1", "group": ""} | more
    return Kind(kind=kind, plural=plural, singular=kind.lower(), **settings)


_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_EVENT_FIELDS = (*(f"involvedObject.{name}" for name in _INVOLVED), "reason", "reportingComponent", "source", "type")

KINDS: tuple[Kind, ...] = (
    _core(
        "Namespace",
        "namespaces",
        namespaced=False,
        short_names=("ns",),
        status=True,
        selectable=("status.phase",),
        schema=_whole("A scope for names.", status=_section("What is seen of it.", conditions=conditions())),
        columns=(path_column("Status", ".status.phase"), AGE),
    ),
    _core(
        "Node",
        "nodes",
        namespaced=False,
        short_names=("no",),
        status=True,
        selectable=("spec.unschedulable",),
        schema=_whole(
            "A machine that runs pods.",
            spec=_NODE_SPEC,
            status=_section("What is seen of it.", conditions=conditions(), addresses=_listing("type")),
        ),
        columns=printing.NODE,
    ),
    _core(
        "Pod",
        "pods",
        short_names=("po",),
        categories=("all",),
        status=True,
        selectable=("spec.nodeName", "status.phase", "spec.schedulerName", "spec.restartPolicy", "status.podIP"),
        schema=_whole(
            "Containers that run together on a node.",
            spec=_POD_SPEC,
            status=_section(
                "What is seen of it.",
                conditions=conditions(),
                podIPs=_listing("ip"),
                containerStatuses=_listing("name"),
            ),
        ),
        columns=printing.POD,
    ),
    _core(
        "Secret",
        "secrets",
        selectable=("type",),
        schema=_whole("Values that are kept from view.", data=_STRINGS, type={"type": "string"}),
        columns=printing.SECRET,
    ),
    _core(
        "ConfigMap",
        "configmaps",
        short_names=("cm",),
        schema=_whole("Values for programs to read.", data=_STRINGS, binaryData=_STRINGS),
        columns=printing.CONFIG_MAP,
    ),
    _core(
        "Service",
        "services",
        short_names=("svc",),
        categories=("all",),
        status=True,
        selectable=("spec.clusterIP", "spec.type"),
        schema=_whole(
            "A stable address for pods.",
            spec=_section("The address wanted.", ports=_listing("port"), selector=_STRINGS),
            status=_section("What is seen of it.", conditions=conditions()),
        ),
        columns=printing.SERVICE,
    ),
    _core(
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        short_names=("pvc",),
        status=True,
        schema=_whole("A request for a volume.", status=_section("What is seen of it.", conditions=conditions())),
        columns=printing.CLAIM,
    ),
    _core(
        "Event",
        "events",
        short_names=("ev",),
        selectable=_EVENT_FIELDS,
        ttl_s=EVENT_TTL_S,
        schema=_whole("Something that happened to an object."),
        columns=printing.EVENT,
    ),
    Kind(
        group="events.k8s.io",
        version="v1",
        kind="Event",
        plural="events",
        singular="event",
        namespaced=True,
        storage="events",
        short_names=("ev",),
        selectable=tuple(name.replace("involvedObject", "regarding") for name in _EVENT_FIELDS),
        schema=_whole("Something that happened to an object."),
        columns=printing.EVENT_V1,
        view=EVENTS_VIEW,
    ),
    Kind(
        group="coordination.k8s.io",
        version="v1",
        kind="Lease",
        plural="leases",
        singular="lease",
        namespaced=True,
        storage="leases.coordination.k8s.io",
        schema=_whole("Who leads, or lives."),
        columns=(path_column("Holder", ".spec.holderIdentity"), AGE),
    ),
    Kind(
        group="discovery.k8s.io",
        version="v1",
        kind="EndpointSlice",
        plural="endpointslices",
        singular="endpointslice",
        namespaced=True,
        storage="endpointslices.discovery.k8s.io",
        schema=_whole(
            "Addresses behind a service.",
            addressType={"type": "string", "enum": ["IPv4", "IPv6", "FQDN"]},
            endpoints={"type": "array", "items": _ANY, "x-kubernetes-list-type": "atomic"},
            ports={"type": "array", "items": _ANY, "x-kubernetes-list-type": "atomic"},
        ),
        columns=printing.ENDPOINT_SLICE,
    ),
    Kind(
        group="networking.k8s.io",
        version="v1",
        kind="NetworkPolicy",
        plural="networkpolicies",
        singular="networkpolicy",
        namespaced=True,
        storage="networkpolicies.networking.k8s.io",
        short_names=("netpol",),
        schema=_whole(
            "What may reach pods, and what they may reach.",
            spec=_section("The traffic that is let through.", podSelector=_section("The pods that it is for.")),
        ),
        columns=printing.NETWORK_POLICY,
    ),
    Kind(
        group="k8s.cni.cncf.io",
        version="v1",
        kind="NetworkAttachmentDefinition",
        plural="network-attachment-definitions",
        singular="network-attachment-definition",
        namespaced=True,
        storage="network-attachment-definitions.k8s.cni.cncf.io",
        short_names=("net-attach-def",),
        schema=_whole(
            "A network that pods may ask for besides their own.",
            spec=_section("How a runtime attaches them.", config={"type": "string"}),
        ),
        columns=(AGE,),
    ),
    Kind(
        group="apiextensions.k8s.io",
        version="v1",
        kind="CustomResourceDefinition",
        plural="customresourcedefinitions",
        singular="customresourcedefinition",
        namespaced=False,
        storage=CRD_STORAGE,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        verbs=READ_ONLY,
        schema=_whole("A kind that is served from its manifest."),
        columns=(path_column("Created At", ".metadata.creationTimestamp"),),
    ),
)
