"""Groups, instances, nodes and options between the wire and the decisions."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from google.protobuf import duration_pb2
from google.protobuf.message import DecodeError

from coordinator.core.objects.meta import Json
from coordinator.core.objects.pool import PoolOptions
from coordinator.core.pool.instances import Instance, InstanceState, NodeRef
from coordinator.core.pool.nodegroups import NodeGroup
from proto.clusterautoscaler.externalgrpc import externalgrpc_pb2 as pb
from proto.clusterautoscaler.kubernetes import core_pb2
from proto.errors import DpuError
from proto.reasons import Reason

INT32 = 2**31 - 1

PATIENCE_S = 300
"""By how much the client waits longer than the pool itself: the pool gives a server up first, and tries another."""

STATES = {
    InstanceState.CREATING: pb.InstanceStatus.instanceCreating,
    InstanceState.RUNNING: pb.InstanceStatus.instanceRunning,
    InstanceState.DELETING: pb.InstanceStatus.instanceDeleting,
}


def group_to(group: NodeGroup) -> pb.NodeGroup:
    """A group for the wire."""
    most = min(group.maximum, INT32)
    return pb.NodeGroup(id=group.name, minSize=min(group.minimum, INT32), maxSize=most, debug=group.sentence())


def ref_from(node: pb.ExternalGrpcNode) -> NodeRef:
    """A node from the wire."""
    return NodeRef(node.providerID, node.name)


def instance_to(instance: Instance) -> pb.Instance:
    """An instance for the wire."""
    status = pb.InstanceStatus(instanceState=STATES[instance.state])
    if instance.fault is not None:
        status.errorInfo.errorCode = instance.fault.value
        status.errorInfo.errorMessage = instance.message
        status.errorInfo.instanceErrorClass = instance.error_class
    return pb.Instance(id=instance.id, status=status)


def options_to(group: NodeGroup, defaults: pb.NodeGroupAutoscalingOptions) -> pb.NodeGroupAutoscalingOptions:
    """The client's options with the pool's own, and the time that a server really takes: a slow one is not given up."""
    options = pb.NodeGroupAutoscalingOptions()
    options.CopyFrom(defaults)
    _own_options(group.pool.spec.options, options)
    takes_s = group.pool.spec.provision_timeout_seconds + PATIENCE_S
    if defaults.MaxNodeProvisionDuration.ToTimedelta().total_seconds() < takes_s:
        options.MaxNodeProvisionDuration.CopyFrom(duration_pb2.Duration(seconds=takes_s))
    return options


def _own_options(own: PoolOptions, options: pb.NodeGroupAutoscalingOptions) -> None:
    plain = {
        "scaleDownUtilizationThreshold": own.utilisation_threshold,
        "scaleDownGpuUtilizationThreshold": own.gpu_utilisation_threshold,
        "zeroOrMaxNodeScaling": own.zero_or_max,
        "ignoreDaemonSetsUtilization": own.ignore_daemon_sets,
    }
    for name, value in plain.items():
        if value is not None:
            setattr(options, name, value)
    if own.unneeded_seconds is not None:
        options.scaleDownUnneededDuration.FromTimedelta(timedelta(seconds=own.unneeded_seconds))
    if own.unready_seconds is not None:
        options.scaleDownUnreadyDuration.FromTimedelta(timedelta(seconds=own.unready_seconds))


def node_to(node: Json) -> bytes:
    """A Node object as k8s.io.api.core.v1.Node, without envelope."""
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node["status"]
    message = core_pb2.Node(
        metadata=core_pb2.ObjectMeta(name=metadata["name"], labels=metadata.get("labels") or {}),
        spec=core_pb2.NodeSpec(taints=[core_pb2.Taint(**taint) for taint in spec.get("taints") or []]),
        status=core_pb2.NodeStatus(
            capacity=_quantities(status["capacity"]),
            allocatable=_quantities(status["allocatable"]),
            conditions=[core_pb2.NodeCondition(**condition) for condition in status.get("conditions") or []],
        ),
    )
    return message.SerializeToString(deterministic=True)


def _quantities(amounts: Mapping[str, str]) -> dict[str, core_pb2.Quantity]:
    return {name: core_pb2.Quantity(string=amount) for name, amount in amounts.items()}


def node_from(group: str, data: bytes) -> Json:
    """A Node object from its bytes, as far as choosing among groups needs it.

    Raises:
        DpuError: INVALID; these are no node.
    """
    node = core_pb2.Node()
    _decode(node, data, f"nodeBytesMap[{group}]")
    return {
        "metadata": {"name": node.metadata.name, "labels": dict(node.metadata.labels)},
        "status": {
            "capacity": _texts(node.status.capacity),
            "allocatable": _texts(node.status.allocatable),
        },
    }


def pod_from(data: bytes, field: str) -> Json:
    """A Pod object from its bytes, as far as choosing among groups needs it: what its containers request.

    Raises:
        DpuError: INVALID; these are no pod.
    """
    pod = core_pb2.Pod()
    _decode(pod, data, field)
    containers = [{"resources": {"requests": _texts(one.resources.requests)}} for one in pod.spec.containers]
    metadata = {"namespace": pod.metadata.namespace, "name": pod.metadata.name}
    return {"metadata": metadata, "spec": {"containers": containers}}


def _texts(amounts: Mapping[str, core_pb2.Quantity]) -> dict[str, str]:
    return {name: amount.string for name, amount in amounts.items()}


def _decode(message: Any, data: bytes, field: str) -> None:
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        kind = message.DESCRIPTOR.name
        raise DpuError(Reason.INVALID, f"this is no {kind}: {error}", field=field, remedy="send core v1") from error
