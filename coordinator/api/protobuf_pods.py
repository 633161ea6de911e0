"""A pod's status as Kubernetes protobuf: what Go programs send that keep an annotation or a status of a pod.

A pod's spec is not read: a body of this kind is taken where nothing but metadata and status can change.
Source: k8s.io/api core/v1 generated.proto, 0.32.
"""

from datetime import UTC, datetime
from typing import Any

from coordinator.api.protobuf_wire import META, Message, fields_of, pair, text

_SIGNED = 1 << 63


def _number(value: Any) -> int:
    """An int32 or int64, which is sent in two's complement."""
    return int(value) - (1 << 64) if int(value) >= _SIGNED else int(value)


def _time(data: Any) -> str | None:
    """A moment, by seconds since 1970; none at all is what a zero time is in JSON."""
    seconds = dict(fields_of(data)).get(1)
    if seconds is None:
        return None
    return datetime.fromtimestamp(_number(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _quantity(data: Any) -> str:
    return text(dict(fields_of(data)).get(1, b""))


_AMOUNTS = pair(_quantity)
_ADDRESS = Message({1: ("ip", text)})
_CONDITION = Message(
    {
        1: ("type", text),
        2: ("status", text),
        3: ("lastProbeTime", _time),
        4: ("lastTransitionTime", _time),
        5: ("reason", text),
        6: ("message", text),
        7: ("observedGeneration", _number),
    }
)
_STATE = Message(
    {
        1: ("waiting", Message({1: ("reason", text), 2: ("message", text)})),
        2: ("running", Message({1: ("startedAt", _time)})),
        3: (
            "terminated",
            Message(
                {
                    1: ("exitCode", _number),
                    2: ("signal", _number),
                    3: ("reason", text),
                    4: ("message", text),
                    5: ("startedAt", _time),
                    6: ("finishedAt", _time),
                    7: ("containerID", text),
                }
            ),
        ),
    }
)
_RESOURCES = Message(
    {
        1: ("limits{}", _AMOUNTS),
        2: ("requests{}", _AMOUNTS),
        3: ("claims[]", Message({1: ("name", text), 2: ("request", text)})),
    }
)
_MOUNT = Message({1: ("name", text), 2: ("mountPath", text), 3: ("readOnly", bool), 4: ("recursiveReadOnly", text)})
_USER = Message(
    {1: ("linux", Message({1: ("uid", _number), 2: ("gid", _number), 3: ("supplementalGroups[]", _number)}))}
)
_HEALTH = Message(
    {1: ("name", text), 2: ("resources[]", Message({1: ("resourceID", text), 2: ("health", text)}))},
)
_CONTAINER = Message(
    {
        1: ("name", text),
        2: ("state", _STATE),
        3: ("lastState", _STATE),
        4: ("ready", bool),
        5: ("restartCount", _number),
        6: ("image", text),
        7: ("imageID", text),
        8: ("containerID", text),
        9: ("started", bool),
        10: ("allocatedResources{}", _AMOUNTS),
        11: ("resources", _RESOURCES),
        12: ("volumeMounts[]", _MOUNT),
        13: ("user", _USER),
        14: ("allocatedResourcesStatus[]", _HEALTH),
    }
)
_STATUS = Message(
    {
        1: ("phase", text),
        2: ("conditions[]", _CONDITION),
        3: ("message", text),
        4: ("reason", text),
        5: ("hostIP", text),
        6: ("podIP", text),
        7: ("startTime", _time),
        8: ("containerStatuses[]", _CONTAINER),
        9: ("qosClass", text),
        10: ("initContainerStatuses[]", _CONTAINER),
        11: ("nominatedNodeName", text),
        12: ("podIPs[]", _ADDRESS),
        13: ("ephemeralContainerStatuses[]", _CONTAINER),
        14: ("resize", text),
        15: ("resourceClaimStatuses[]", Message({1: ("name", text), 2: ("resourceClaimName", text)})),
        16: ("hostIPs[]", _ADDRESS),
        17: ("observedGeneration", _number),
    }
)
POD = Message({1: ("metadata", META), 3: ("status", _STATUS)})
"""A pod without its spec."""
