"""The lab's certificate authority: one root, certificates whose subject says role (O) and name (CN).

Whoever reads the key files can be anybody in the lab; they are private to root. In production the certificates come
from elsewhere: the programs only read files.
"""

import datetime as dt
import enum
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = dt.timedelta(days=30)
RENEW_BEFORE = dt.timedelta(days=7)
CLOCK_SKEW = dt.timedelta(minutes=5)


class Role(enum.Enum):
    """Subject O of a certificate: what its holder may be."""

    COORDINATOR = "dpupool:coordinator"
    DPU = "dpupool:dpu"
    STORAGE = "dpupool:storage"
    HOST = "dpupool:host"
    BMC = "dpupool:bmc"
    ADMIN = "dpupool:admin"
    VIEWER = "dpupool:viewer"
    JOINER = "dpupool:joiner"
    AUTOSCALER = "dpupool:autoscaler"
    OPI = "dpupool:opi"


@dataclass(frozen=True)
class Identity:
    """Who a certificate is for.

    Attributes:
        name: subject CN, also the file name.
        role: subject O.
        addresses: numeric addresses that it serves on.
        dns_names: names that it serves as, besides its own.
    """

    name: str
    role: Role
    addresses: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeyPair:
    """Files of one certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """A small certificate authority in a folder.

    Args:
        folder: made when missing; an authority that is already there is used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._own = KeyPair(folder / "ca.crt", folder / "ca.key")
        if not (self._own.key.exists() and self._own.certificate.exists()):
            _write_pair(self._own, *_new_root())
        self._key = _read_key(self._own.key)
        self._certificate = x509.load_pem_x509_certificate(self._own.certificate.read_bytes())

    @property
    def ca_file(self) -> Path:
        """The root certificate, PEM."""
        return self._own.certificate

    def issue(self, identity: Identity) -> KeyPair:
        """Certificate and key for an identity, for serving and for calling; an unchanged valid one is kept."""
        pair = self.pair(identity.name)
        if not self._is_good(pair, identity):
            key = ec.generate_private_key(ec.SECP256R1())
            _write_pair(pair, key, self._sign(identity, key.public_key()))
        return pair

    def pair(self, name: str) -> KeyPair:
        """Where a name's files are."""
        return KeyPair(self._folder / f"{name}.crt", self._folder / f"{name}.key")

    def _is_good(self, pair: KeyPair, identity: Identity) -> bool:
        if not (pair.key.exists() and pair.certificate.exists()):
            return False
        found = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        fresh = found.not_valid_after_utc > _now() + RENEW_BEFORE
        same_names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value == _names(identity)
        ours = found.issuer == self._certificate.subject and _matches(found, self._certificate)
        return fresh and same_names and ours and found.subject == _subject(identity)

    def _sign(self, identity: Identity, public: ec.EllipticCurvePublicKey) -> x509.Certificate:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        return (
            _builder(_subject(identity), self._certificate.subject, public)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(_names(identity), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )


def _now() -> dt.datetime:
    return dt.datetime.now(tz=dt.UTC)


def _subject(identity: Identity) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.role.value),
            x509.NameAttribute(NameOID.COMMON_NAME, identity.name),
        ]
    )


def _names(identity: Identity) -> x509.SubjectAlternativeName:
    dns: Iterable[str] = dict.fromkeys((identity.name, *identity.dns_names))
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in identity.addresses]
    return x509.SubjectAlternativeName([*(x509.DNSName(name) for name in dns), *addresses])


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - CLOCK_SKEW)
        .not_valid_after(_now() + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _new_root() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dpupool lab CA")])
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    key_usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False, **usage
    )
    certificate = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _matches(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    wanted = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == wanted


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} is not an elliptic curve key")
    return key


def _write_pair(pair: KeyPair, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    """Key first: a certificate without its key is issued anew."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pair.certificate.unlink(missing_ok=True)
    _write_private(pair.key, pem)
    _write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _write_private(path: Path, data: bytes) -> None:
    partial = path.with_suffix(f"{path.suffix}.part")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    partial.replace(path)
