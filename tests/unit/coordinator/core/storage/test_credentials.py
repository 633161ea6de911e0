"""Names and forms of secrets."""

import base64
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.objects.storage import Qos
from coordinator.core.storage.abilities import Ability, check_creation, check_deletion
from coordinator.core.storage.credentials import new_secrets, secret_name, set_name, volume_key, volume_set
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.core.storage.things import volume

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,80}[a-z0-9])?", fullmatch=True)


@given(NAMES, st.text(min_size=1, max_size=40), NAMES, st.text(min_size=1, max_size=40))
def test_names_of_sets_can_be_kept_in_files_and_belong_to_one_pair(a: str, b: str, c: str, d: str) -> None:
    first, second = set_name(a, b), set_name(c, d)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", first)
    assert (first == second) == ((a, b) == (c, d))


def test_names_are_readable_where_they_can_be() -> None:
    assert set_name("dpu-1", "file") == "dpu-1.file"
    assert secret_name("dpu-1.file") == "storage-dpu-1.file"
    assert set_name("a.b", "c") != set_name("a", "b.c")
    assert len(volume_set("01234567-89ab-cdef-0123-456789abcdef")) <= 63


def test_secrets_of_nvme_carry_their_checksum() -> None:
    made = new_secrets("nvme+tcp", lambda size: bytes(range(size)))
    assert set(made) == {"dhchapKey", "dhchapControllerKey", "tlsPsk"}
    for key, front in (("dhchapKey", "DHHC-1:01:"), ("tlsPsk", "NVMeTLSkey-1:01:")):
        text = made[key].decode()
        assert text.startswith(front)
        assert text.endswith(":")
        body = base64.b64decode(text.removeprefix(front).rstrip(":"))
        assert body[-4:] == zlib.crc32(body[:-4]).to_bytes(4, "little")
        assert len(body) == 36


def test_secrets_of_nbd_are_hex_digits() -> None:
    assert new_secrets("nbd+tcp", lambda size: b"\xab" * size) == {"tlsPsk": b"ab" * 32}


@pytest.mark.parametrize("key", [bytes(range(32)), bytes(range(64))])
def test_a_volume_key_has_two_halves(key: bytes) -> None:
    assert volume_key({"key": key}, "k") == key


@pytest.mark.parametrize(("key", "says"), [(b"", "0 bytes"), (b"x" * 16, "16 bytes"), (b"x" * 64, "equal halves")])
def test_a_bad_volume_key_is_refused_without_being_told(key: bytes, says: str) -> None:
    with pytest.raises(DpuError) as told:
        volume_key({"key": key}, "k")
    assert says in told.value.message
    assert "x" * 16 not in str(told.value)
    assert told.value.field == "spec.encryption.secretRef.name"


def test_a_policy_that_the_backend_cannot_follow_is_refused_before_there_are_bytes() -> None:
    able = frozenset({Ability.BLANK, Ability.DELETE})
    check_creation(volume(made=False), None, able)
    with pytest.raises(DpuError) as told:
        check_creation(volume(made=False, deletionPolicy="Shred"), None, able)
    assert told.value.reason is Reason.UNSUPPORTED
    assert told.value.field == "spec.deletionPolicy"
    assert told.value.remedy.startswith("write Delete or Retain")
    check_deletion(volume(deletionPolicy="Retain"), frozenset())


def test_limits_of_a_volume_are_none_by_default() -> None:
    assert volume().spec.qos == Qos()
