from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.chassis.slots import (
    DiskProtocol,
    DiskSpec,
    Function,
    NicSpec,
    backend_name,
    check_disk,
    check_nic,
    device_name,
)
from proto.errors import DpuError

MakeDisk = Callable[..., DiskSpec]

SPECS = st.builds(
    DiskSpec,
    slot=st.integers(0, 23),
    function_id=st.text(min_size=1, max_size=40),
    protocol=st.sampled_from(DiskProtocol),
    nbd_path=st.just("/run/nbd"),
    export=st.text(min_size=1, max_size=20),
    serial=st.text("abcXYZ019-", min_size=1, max_size=20),
    boot_order=st.integers(0, 3),
)


@given(SPECS, SPECS)
def test_names_in_qemu_are_valid_and_tell_specifications_apart(one: DiskSpec, other: DiskSpec) -> None:
    name = backend_name(one)
    assert len(name) <= 31
    assert name.isascii()
    assert name[0].isalpha()
    assert (device_name(one) == device_name(other)) == (one == other)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slot", 8),
        ("slot", -1),
        ("function_id", ""),
        ("serial", "x" * 21),
        ("serial", "has space"),
        ("serial", ""),
        ("nbd_path", "relative"),
        ("export", ""),
        ("nguid", "ABC"),
        ("boot_order", -1),
    ],
)
def test_a_disk_that_cannot_be_is_refused_by_field(disk: MakeDisk, field: str, value: object) -> None:
    with pytest.raises(DpuError) as caught:
        check_disk(disk(**{field: value}), slots=8)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mac", "01:00:5e:00:00:01"),
        ("mac", "52-54-00-00-00-01"),
        ("tap", ""),
        ("tap", "x" * 16),
        ("mtu", 1),
        ("slot", 4),
    ],
)
def test_a_nic_that_cannot_be_is_refused_by_field(field: str, value: object) -> None:
    fields: dict[str, object] = {"slot": 0, "function_id": "vf0", "tap": "pf0vf0", "mac": "52:54:00:00:00:01"}
    with pytest.raises(DpuError) as caught:
        check_nic(NicSpec(**(fields | {field: value})), slots=4)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_a_function_knows_what_is_plugged(disk: MakeDisk) -> None:
    spec = disk()
    assert Function.of(spec).plugged == spec
    with pytest.raises(DpuError, match="without a specification"):
        _ = Function().plugged
