"""The lab's certificates."""

import datetime as dt
import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from coordinator.endpoints import peers
from coordinator.endpoints.autoscaler import gate
from lab import ca
from lab.ca import Authority, Identity, Role

DPU = Identity("dpu-1", Role.DPU, ("198.18.0.101",), ("dpu.example",))


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_the_subject_says_role_and_name(tmp_path: Path) -> None:
    certificate = read(Authority(tmp_path).issue(DPU).certificate)
    said = {each.oid: each.value for each in certificate.subject}
    assert said == {NameOID.ORGANIZATION_NAME: "dpupool:dpu", NameOID.COMMON_NAME: "dpu-1"}


def test_a_server_is_trusted_by_its_address_and_as_a_client(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = read(authority.issue(DPU).certificate)
    policy = PolicyBuilder().store(Store([read(authority.ca_file)]))
    subject = x509.IPAddress(ipaddress.ip_address("198.18.0.101"))
    assert policy.build_server_verifier(subject).verify(certificate, [])[0] == certificate
    assert policy.build_client_verifier().verify(certificate, []).chain[0] == certificate


def test_another_labs_authority_does_not_vouch(tmp_path: Path) -> None:
    certificate = read(Authority(tmp_path / "a").issue(DPU).certificate)
    other = read(Authority(tmp_path / "b").ca_file)
    with pytest.raises(Exception, match="candidates exhausted"):
        PolicyBuilder().store(Store([other])).build_client_verifier().verify(certificate, [])


def test_keys_are_private(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue(DPU)
    for key in (pair.key, tmp_path / "ca.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_issuing_again_changes_nothing(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue(DPU)
    before = pair.certificate.read_bytes()
    assert Authority(tmp_path).issue(DPU).certificate.read_bytes() == before


@pytest.mark.parametrize(
    "other",
    [
        Identity("dpu-1", Role.HOST, DPU.addresses, DPU.dns_names),
        Identity("dpu-1", Role.DPU, ("198.18.0.102",), DPU.dns_names),
    ],
    ids=["other role", "other address"],
)
def test_a_changed_identity_gets_a_new_certificate(tmp_path: Path, other: Identity) -> None:
    authority = Authority(tmp_path)
    before = authority.issue(DPU).certificate.read_bytes()
    assert authority.issue(other).certificate.read_bytes() != before


def test_a_certificate_near_its_end_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    before = authority.issue(DPU).certificate.read_bytes()
    later = dt.datetime.now(tz=dt.UTC) + ca.VALID - dt.timedelta(days=1)
    monkeypatch.setattr(ca, "_now", lambda: later)
    assert authority.issue(DPU).certificate.read_bytes() != before


def test_a_lost_key_gets_a_new_pair(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue(DPU)
    pair.key.unlink()
    authority.issue(DPU)
    assert pair.key.exists()
    assert read(pair.certificate).public_key() == ca._read_key(pair.key).public_key()


def test_a_replaced_authority_replaces_what_it_signs(tmp_path: Path) -> None:
    before = Authority(tmp_path).issue(DPU).certificate.read_bytes()
    (tmp_path / "ca.key").unlink()
    assert Authority(tmp_path).issue(DPU).certificate.read_bytes() != before


def test_an_autoscalers_certificate_has_the_role_that_the_coordinator_asks_for(tmp_path: Path) -> None:
    pem = Authority(tmp_path).issue(Identity("ca-1", Role.AUTOSCALER)).certificate.read_bytes()
    assert peers.peer_of({"x509_pem_cert": [pem]}, gate.Role.AUTOSCALER) == ("ca-1", gate.Role.AUTOSCALER)
