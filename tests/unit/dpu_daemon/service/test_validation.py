"""What callers send is checked; the error names the field, and says what to send instead."""

from collections.abc import Callable
from typing import Any

import pytest

from dpu_daemon.model.disk import DiskProtocol
from dpu_daemon.service import validation
from dpu_daemon.service.network_wire import to_port_spec
from dpu_daemon.service.storage_wire import asked_disk
from dpu_daemon.service.target_wire import check_source, to_format
from proto.dpu.v1 import network_pb2, storage_pb2
from proto.errors import DpuError
from proto.reasons import Reason

NGUID = "0123456789abcdef0123456789abcdef"


def attach_request() -> storage_pb2.AttachRequest:
    return storage_pb2.AttachRequest(
        attachment_id="5b0c0f6e-0000-4000-8000-000000000001",
        generation=1,
        spec=storage_pb2.AttachmentSpec(
            volume_id="vol-1",
            size_bytes=1 << 20,
            target=storage_pb2.TargetAddress(transport="nbd+tcp", host="192.0.2.10", port=10809, export="v1"),
            serial="SER-1",
            nguid=NGUID,
            protocol=storage_pb2.DISK_PROTOCOL_NVME,
        ),
    )


def test_a_sound_request_becomes_what_it_says() -> None:
    asked = asked_disk(attach_request())
    assert (asked.spec.serial, asked.spec.nguid, asked.spec.protocol) == ("SER-1", NGUID, DiskProtocol.NVME)
    assert not asked.any_protocol


Change = Callable[[storage_pb2.AttachRequest], None]


def _set(path: str, value: object) -> Change:
    def change(request: storage_pb2.AttachRequest) -> None:
        *parents, last = path.split(".")
        at: object = request
        for parent in parents:
            at = getattr(at, parent)
        setattr(at, last, value)

    return change


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("attachment_id", "", "attachment_id"),
        ("attachment_id", "a/b", "attachment_id"),
        ("attachment_id", "seed:bm-01", "attachment_id"),
        ("attachment_id", "x" * 129, "attachment_id"),
        ("generation", 0, "generation"),
        ("spec.volume_id", "", "spec.volume_id"),
        ("spec.size_bytes", 0, "spec.size_bytes"),
        ("spec.size_bytes", 1000, "spec.size_bytes"),
        ("spec.size_bytes", 1 << 61, "spec.size_bytes"),
        ("spec.target.transport", "iscsi", "spec.target.transport"),
        ("spec.target.host", "storage.example", "spec.target.host"),
        ("spec.target.port", 0, "spec.target.port"),
        ("spec.target.port", 70_000, "spec.target.port"),
        ("spec.target.export", "", "spec.target.export"),
        ("spec.serial", "x" * 21, "spec.serial"),
        ("spec.serial", "with space", "spec.serial"),
        ("spec.serial", "umläut", "spec.serial"),
        ("spec.nguid", "0" * 32, "spec.nguid"),
        ("spec.nguid", "0123", "spec.nguid"),
        ("spec.nguid", NGUID.upper(), "spec.nguid"),
        ("spec.boot_order", 256, "spec.boot_order"),
        ("spec.protocol", 9, "spec.protocol"),
        ("spec.machine_id", "../..", "spec.machine_id"),
    ],
)
def test_a_wrong_field_of_a_disk_is_named(path: str, value: object, field: str) -> None:
    request = attach_request()
    _set(path, value)(request)
    with pytest.raises(DpuError) as refused:
        asked_disk(request)
    assert refused.value.field == field
    assert refused.value.remedy
    assert refused.value.reason in {Reason.INVALID, Reason.UNSUPPORTED}


@pytest.mark.parametrize(
    "qos",
    [
        storage_pb2.Qos(iops=1, read_iops=1),
        storage_pb2.Qos(iops=1, write_iops=1),
        storage_pb2.Qos(bytes_per_s=1, read_bytes_per_s=1),
        storage_pb2.Qos(bytes_per_s=1, write_bytes_per_s=1),
    ],
)
def test_totals_exclude_split_limits(qos: storage_pb2.Qos) -> None:
    request = attach_request()
    request.spec.qos.CopyFrom(qos)
    with pytest.raises(DpuError) as refused:
        asked_disk(request)
    assert refused.value.field.startswith("spec.qos.")


PORT: dict[str, Any] = {
    "mac": "02:00:00:00:00:01",
    "addresses": ["10.77.0.11/24", "fd00::11/64"],
    "network_id": "net-1",
    "vlan": 7,
}


def test_a_sound_port_becomes_what_it_says() -> None:
    spec = to_port_spec(network_pb2.PortSpec(**PORT))
    assert (spec.addresses, spec.vlan, spec.mtu, spec.bridge) == (("10.77.0.11/24", "fd00::11/64"), 7, 0, "")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"mac": "02:00:00:00:00"}, "spec.mac"),
        ({"mac": "02:00:00:00:00:0A"}, "spec.mac"),
        ({"mac": "01:00:5e:00:00:01"}, "spec.mac"),
        ({"mac": "00:00:00:00:00:00"}, "spec.mac"),
        ({"addresses": ["10.77.0.11"]}, "spec.addresses[0]"),
        ({"addresses": ["10.77.0.11/24", "10.77.0/24"]}, "spec.addresses[1]"),
        ({"addresses": ["224.0.0.1/24"]}, "spec.addresses[0]"),
        ({"network_id": ""}, "spec.network_id"),
        ({"vlan": 4095}, "spec.vlan"),
        ({"mtu": 100}, "spec.mtu"),
        ({"mtu": 10_000}, "spec.mtu"),
        ({"bridge": "a-name-that-is-too-long"}, "spec.bridge"),
    ],
)
def test_a_wrong_field_of_a_port_is_named(changed: dict[str, object], field: str) -> None:
    with pytest.raises(DpuError) as refused:
        to_port_spec(network_pb2.PortSpec(**{**PORT, **changed}))
    assert refused.value.field == field
    assert refused.value.remedy


def test_seed_text_that_is_refused_is_never_repeated() -> None:
    secret = "password: hunter2\n" * 100_000
    with pytest.raises(DpuError) as refused:
        validation.check_text("user_data", secret, needed=True)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(DpuError):
        validation.check_text("meta_data", "", needed=True)
    assert validation.check_text("user_data", "", needed=False) == ""


@pytest.mark.parametrize("source", ["", "../etc/shadow", "a/b", ".hidden", "a\0b"])
def test_an_image_is_a_file_of_the_image_directory(source: str) -> None:
    with pytest.raises(DpuError) as refused:
        check_source(source)
    assert refused.value.field == "source"
    assert check_source("tiny.qcow2") == "tiny.qcow2"


def test_an_image_format_is_one_that_is_known() -> None:
    assert to_format("raw").value == "raw"
    with pytest.raises(DpuError) as refused:
        to_format("vmdk")
    assert "raw, qcow2" in refused.value.remedy
