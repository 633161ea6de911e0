"""A pod's status as Go programs send it."""

import pytest

from coordinator.api import protobuf
from coordinator.api.errors import ApiError

Part = bytes | str | int


def field(number: int, value: Part) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value % (1 << 64))
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def envelope(kind: str, raw: bytes) -> bytes:
    return b"k8s\0" + field(1, field(1, "v1") + field(2, kind)) + field(2, raw)


META = field(1, "web") + field(3, "default") + field(6, "42") + field(12, field(1, "a") + field(2, "b"))
TERMINATED = field(1, -1) + field(3, "Error") + field(5, field(1, 1_700_000_000))
CONTAINER = (
    field(1, "main")
    + field(2, field(3, TERMINATED))
    + field(3, b"")
    + field(4, 0)
    + field(5, 3)
    + field(10, field(1, "cpu") + field(2, field(1, "500m")))
)
STATUS = (
    field(1, "Running")
    + field(2, field(1, "Ready") + field(2, "True") + field(3, b"") + field(4, field(1, 1_700_000_000) + field(2, 5)))
    + field(6, "10.16.0.5")
    + field(12, field(1, "10.16.0.5"))
    + field(12, field(1, "fd00::5"))
    + field(8, CONTAINER)
)


def test_metadata_and_status_are_read() -> None:
    pod = protobuf.read(envelope("Pod", field(1, META) + field(2, b"\x0a\x00") + field(3, STATUS)), status_only=True)
    assert pod == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "resourceVersion": "42", "annotations": {"a": "b"}},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2023-11-14T22:13:20Z"}],
            "podIP": "10.16.0.5",
            "podIPs": [{"ip": "10.16.0.5"}, {"ip": "fd00::5"}],
            "containerStatuses": [
                {
                    "name": "main",
                    "state": {
                        "terminated": {"exitCode": -1, "reason": "Error", "startedAt": "2023-11-14T22:13:20Z"},
                    },
                    "ready": False,
                    "restartCount": 3,
                    "allocatedResources": {"cpu": "500m"},
                }
            ],
        },
    }


def test_a_whole_pod_is_not_taken_since_its_spec_would_be_lost() -> None:
    with pytest.raises(ApiError) as refused:
        protobuf.read(envelope("Pod", field(1, META)))
    assert refused.value.code == 415
