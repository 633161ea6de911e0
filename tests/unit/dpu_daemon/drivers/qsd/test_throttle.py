import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpu_daemon.drivers.qsd.throttle import HIGHEST, KEYS, limits_of, qos_of
from dpu_daemon.model.disk import UNLIMITED, Qos
from proto.errors import DpuError

VALUES = st.integers(0, HIGHEST)


@given(VALUES, VALUES, VALUES, VALUES)
def test_limits_read_back_as_they_were_said(total: int, read: int, write: int, flow: int) -> None:
    for qos in (Qos(iops=total, bytes_per_s=flow), Qos(read_iops=read, write_iops=write, read_bytes_per_s=flow)):
        assert qos_of(limits_of(qos)) == qos


def test_every_key_is_always_said_as_setting_merges() -> None:
    assert limits_of(UNLIMITED).keys() == limits_of(Qos(iops=5)).keys()
    assert len(limits_of(UNLIMITED)) == 3 * len(KEYS) + 1


@pytest.mark.parametrize(
    ("qos", "field"),
    [
        (Qos(iops=1, write_iops=1), "qos"),
        (Qos(bytes_per_s=1, read_bytes_per_s=1), "qos"),
        (Qos(read_iops=-1), "qos.read_iops"),
        (Qos(bytes_per_s=HIGHEST + 1), "qos.bytes_per_s"),
    ],
)
def test_what_the_daemon_would_refuse_is_refused_with_its_field(qos: Qos, field: str) -> None:
    with pytest.raises(DpuError) as refused:
        limits_of(qos)
    assert refused.value.field == field
    assert refused.value.remedy
