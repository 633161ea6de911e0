"""Secrets in files: rights, atomic replacement, and that nothing tells them."""

from pathlib import Path

import pytest

from dpu_daemon.drivers.credentials import FileCredentials, KeyPart
from dpu_daemon.model.credentials import Credentials
from proto.errors import DpuError
from proto.reasons import Reason

PSK = "00112233445566778899aabbccddeeff"
SECRET = "DHHC-1:00:secretsecretsecret:"
SET = Credentials(name="dpu-1", dhchap_key=SECRET, tls_psk=PSK, volume_key=b"k" * 64, cephx_key="dpu:cephsecret")


@pytest.fixture
def store(tmp_path: Path) -> FileCredentials:
    return FileCredentials(tmp_path / "credentials")


def _modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}


def test_what_was_put_is_got_again_also_by_the_next_daemon(store: FileCredentials, tmp_path: Path) -> None:
    store.put(SET)
    store.put(SET)
    assert FileCredentials(tmp_path / "credentials").get("dpu-1") == SET
    assert store.names() == {"dpu-1"}


def test_files_and_folders_are_for_this_user_alone(store: FileCredentials, tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir(mode=0o755)
    store.put(SET)
    assert _modes(tmp_path / "credentials") == {0o600}
    folders = [tmp_path / "credentials", *(p for p in (tmp_path / "credentials").rglob("*") if p.is_dir())]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setattr("os.geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(DpuError) as refused:
        FileCredentials(folder).put(SET)
    assert (refused.value.reason, refused.value.field) == (Reason.UNAVAILABLE, "credentials_dir")


def test_the_text_of_a_set_tells_its_name_and_no_secret() -> None:
    assert repr(SET) == str(SET) == "Credentials(name='dpu-1')"


def test_replacing_drops_the_secrets_that_are_gone(store: FileCredentials, tmp_path: Path) -> None:
    store.put(SET)
    key = store.key_file("dpu-1", KeyPart.DHCHAP)
    assert key is not None
    assert key.read_text() == SECRET
    store.put(Credentials(name="dpu-1", tls_psk="ff" * 16))
    assert store.key_file("dpu-1", KeyPart.DHCHAP) is None
    assert not key.exists()
    assert not list(tmp_path.rglob("*unfinished*"))


def test_keys_of_nbd_stand_in_one_file_and_leave_it_when_deleted(store: FileCredentials) -> None:
    assert (store.psk_directory() / "keys.psk").read_text() == ""
    store.put(SET)
    store.put(Credentials(name="dpu-2", tls_psk="NVMeTLSkey-1:01:abc:"))
    store.put(Credentials(name="dpu-3", tls_psk="ab" * 32))
    assert (store.psk_directory() / "keys.psk").read_text() == f"dpu-1:{PSK}\ndpu-3:{'ab' * 32}\n"
    for _ in range(2):
        store.delete("dpu-1")
    assert (store.psk_directory() / "keys.psk").read_text() == f"dpu-3:{'ab' * 32}\n"
    assert store.names() == {"dpu-2", "dpu-3"}


def test_a_key_file_that_vanished_is_made_again(store: FileCredentials) -> None:
    store.put(SET)
    path = store.key_file("dpu-1", KeyPart.TLS_PSK)
    assert path is not None
    path.unlink()
    assert store.key_file("dpu-1", KeyPart.TLS_PSK) == path
    assert path.read_text() == PSK


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "x" * 64, ".hidden", "dot.", "a\nb"])
def test_a_name_that_is_no_name_is_refused(store: FileCredentials, name: str) -> None:
    with pytest.raises(DpuError) as refused:
        store.put(Credentials(name=name))
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "credentials.name")


@pytest.mark.parametrize(
    ("field", "secret"),
    [
        ("dhchap_key", "plain-secret"),
        ("dhchap_controller_key", "DHHC-1:secret\n"),
        ("tls_psk", "secret"),
        ("tls_psk", "abc" * 11),
        ("tls_psk", "00" * 65),
        ("volume_key", b"secret"),
        ("cephx_key", "a secret"),
    ],
)
def test_a_secret_of_no_use_is_refused_without_repeating_it(
    store: FileCredentials, field: str, secret: str | bytes
) -> None:
    with pytest.raises(DpuError) as refused:
        store.put(Credentials(name="x", **{field: secret}))  # type: ignore[arg-type]
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, f"credentials.{field}")
    assert "secret" not in refused.value.message.replace("NVMe secret", "")
    assert store.names() == frozenset()


def test_a_set_that_is_not_there_is_not_found(store: FileCredentials) -> None:
    with pytest.raises(DpuError) as refused:
        store.get("dpu-9")
    assert refused.value.reason is Reason.NOT_FOUND
    store.delete("dpu-9")


def test_a_damaged_file_is_told_without_what_is_in_it(store: FileCredentials, tmp_path: Path) -> None:
    store.put(SET)
    path = tmp_path / "credentials" / "dpu-1.json"
    path.write_bytes(b'{"name": "dpu-1", "tls_psk": 4711')
    with pytest.raises(DpuError) as refused:
        store.get("dpu-1")
    assert refused.value.reason is Reason.CORRUPT
    assert "4711" not in str(refused.value)
    assert refused.value.__cause__ is None
    store.put(Credentials(name="dpu-2", tls_psk=PSK))
    assert (store.psk_directory() / "keys.psk").read_text() == f"dpu-2:{PSK}\n"


def test_a_full_disk_is_told_and_the_old_set_stays(store: FileCredentials, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(SET)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DpuError) as refused:
        store.put(Credentials(name="dpu-1", tls_psk="ff" * 16))
    assert refused.value.reason is Reason.STORAGE_FULL
    assert store.get("dpu-1") == SET
