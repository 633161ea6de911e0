"""The definitions have the specification's names and numbers, and secrets are marked."""

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.wrappers_pb2 import BoolValue

from proto.csi.v1 import controller_pb2, csi_pb2, identity_pb2, node_pb2, options_pb2, snapshot_pb2, volume_pb2
from proto.pluginregistration.v1 import api_pb2

FILES: list[FileDescriptor] = [
    module.DESCRIPTOR for module in (controller_pb2, identity_pb2, node_pb2, snapshot_pb2, volume_pb2)
]
METHODS = {"Identity": 3, "Controller": 15, "GroupController": 4, "Node": 8}


def messages(file: FileDescriptor) -> list[Descriptor]:
    return list(file.message_types_by_name.values())


def test_services_have_the_paths_that_callers_use() -> None:
    services = csi_pb2.DESCRIPTOR.services_by_name
    assert {name: len(service.methods) for name, service in services.items()} == METHODS
    assert {service.full_name for service in services.values()} == {f"csi.v1.{name}" for name in METHODS}
    registration = api_pb2.DESCRIPTOR.services_by_name["Registration"]
    assert registration.full_name == "pluginregistration.Registration"


def test_every_method_takes_and_gives_the_messages_of_its_name() -> None:
    for service in csi_pb2.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            assert method.input_type.name == f"{method.name}Request"
            assert method.output_type.name == f"{method.name}Response"


def test_every_secret_is_marked_so_that_no_log_shows_it() -> None:
    fields = [field for file in FILES for message in messages(file) for field in message.fields]
    secrets = [field for field in fields if field.name == "secrets"]
    assert len(secrets) == 17
    marked = [field for field in fields if field.GetOptions().Extensions[options_pb2.csi_secret]]  # type: ignore[index]
    assert marked == secrets


@pytest.mark.parametrize(
    ("message", "bytes_"),
    [
        (identity_pb2.ProbeResponse(ready=BoolValue(value=True)), "0a020801"),
        (identity_pb2.ProbeResponse(ready=BoolValue(value=False)), "0a00"),
        (identity_pb2.GetPluginInfoResponse(name="a", vendor_version="b"), "0a0161120162"),
        (
            volume_pb2.VolumeCapability(
                mount=volume_pb2.VolumeCapability.MountVolume(fs_type="xfs"),
                access_mode=volume_pb2.VolumeCapability.AccessMode(mode="MULTI_NODE_MULTI_WRITER"),
            ),
            "12050a037866731a020805",
        ),
        (volume_pb2.Volume(capacity_bytes=1, volume_id="v"), "0801120176"),
        (node_pb2.NodeGetInfoResponse(node_id="n", max_volumes_per_node=9), "0a016e1009"),
        (api_pb2.PluginInfo(type="CSIPlugin", supported_versions=["1.0.0"]), "0a09435349506c7567696e2205312e302e30"),
        (api_pb2.RegistrationStatus(plugin_registered=True, error="e"), "0801120165"),
    ],
)
def test_messages_are_these_bytes(message: identity_pb2.ProbeResponse, bytes_: str) -> None:
    assert message.SerializeToString().hex() == bytes_
