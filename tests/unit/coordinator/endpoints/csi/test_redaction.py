"""What of a request reaches the log."""

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from coordinator.endpoints.csi.redaction import STRIPPED, redacted
from proto.csi.v1 import controller_pb2, node_pb2, options_pb2, snapshot_pb2
from tests.fakes.csi import create_request

SECRET: Any = options_pb2.csi_secret


def secret_fields() -> list[tuple[Any, FieldDescriptor]]:
    """Every field of every message that is marked as secret."""
    found = []
    for module in (controller_pb2, snapshot_pb2, node_pb2):
        for name, descriptor in module.DESCRIPTOR.message_types_by_name.items():
            found += [
                (getattr(module, name), field) for field in descriptor.fields if field.GetOptions().Extensions[SECRET]
            ]
    return found


def test_there_are_secrets_to_hide() -> None:
    assert len(secret_fields()) >= 14


@pytest.mark.parametrize(("kind", "field"), secret_fields(), ids=lambda one: getattr(one, "full_name", ""))
def test_no_secret_is_shown(kind: Any, field: FieldDescriptor) -> None:
    message = kind()
    getattr(message, field.name)["key"] = "hunter2"
    shown = redacted(message)
    assert "hunter2" not in str(shown)
    assert shown[field.name] == {"key": STRIPPED}


def test_everything_else_is_shown() -> None:
    shown = redacted(create_request("v", 5, parameters={"a": "b"}))
    assert shown["name"] == "v"
    assert shown["capacity_range"] == {"required_bytes": 5}
    assert shown["parameters"] == {"a": "b"}
    assert shown["volume_capabilities"] == [{"mount": {"fs_type": "ext4"}, "access_mode": {"mode": 1}}]
