"""Callers whom a kube-apiserver's aggregator vouches for.

Source: the ConfigMap kube-system/extension-apiserver-authentication and the request headers of the aggregation layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID
from multidict import CIMultiDictProxy

from coordinator.endpoints.callers import Caller
from proto.errors import DpuError
from proto.reasons import Reason

CONFIG_MAP = ("kube-system", "extension-apiserver-authentication")
PREFIX = "requestheader-"


@dataclass(frozen=True)
class FrontProxy:
    """Whom to believe, and in which headers.

    Attributes:
        authorities: certificates that sign the proxy's client certificate.
        authorities_pem: the same, for the TLS listener.
        allowed_names: common names of the proxy; any when empty.
        username_headers: headers with the user's name, the first that is there counts.
        group_headers: headers with groups, each may be repeated.
        extra_prefixes: prefixes of headers with further attributes.
        uid_headers: headers with the user's id.
    """

    authorities: tuple[x509.Certificate, ...]
    authorities_pem: str
    allowed_names: tuple[str, ...] = ()
    username_headers: tuple[str, ...] = ("X-Remote-User",)
    group_headers: tuple[str, ...] = ("X-Remote-Group",)
    extra_prefixes: tuple[str, ...] = ("X-Remote-Extra-",)
    uid_headers: tuple[str, ...] = ("X-Remote-Uid",)

    def caller(self, headers: CIMultiDictProxy[str], peer_der: bytes | None) -> Caller | None:
        """The caller named in the headers, or None when the peer is not the proxy or names nobody.

        Args:
            headers: of the request.
            peer_der: the peer's verified client certificate; None without one.
        """
        if peer_der is None or not self._is_proxy(x509.load_der_x509_certificate(peer_der)):
            return None
        name = _first(headers, self.username_headers)
        if not name:
            return None
        groups = tuple(group for header in self.group_headers for group in headers.getall(header, ()))
        return Caller(name, groups, _first(headers, self.uid_headers), self._extra(headers))

    def _is_proxy(self, certificate: x509.Certificate) -> bool:
        names = {str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
        if self.allowed_names and names.isdisjoint(self.allowed_names):
            return False
        return any(_issued(certificate, authority) for authority in self.authorities)

    def _extra(self, headers: CIMultiDictProxy[str]) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for header, value in headers.items():
            for prefix in self.extra_prefixes:
                if header.lower().startswith(prefix.lower()):
                    key = unquote(header[len(prefix) :]).lower()
                    found[key] = (*found.get(key, ()), value)
        return found


def from_config_map(data: Mapping[str, str]) -> FrontProxy:
    """What the cluster's ConfigMap says of its front proxy.

    Raises:
        DpuError: the ConfigMap has no authority, or a value cannot be read (INVALID, with the key as field).
    """
    pem = data.get(f"{PREFIX}client-ca-file", "")
    try:
        authorities = tuple(x509.load_pem_x509_certificates(pem.encode()))
    except ValueError as error:
        raise _wrong(f"{PREFIX}client-ca-file", f"holds no certificate: {error}") from error
    return FrontProxy(
        authorities=authorities,
        authorities_pem=pem,
        allowed_names=_names(data, "allowed-names", ()),
        username_headers=_names(data, "username-headers", ("X-Remote-User",)),
        group_headers=_names(data, "group-headers", ("X-Remote-Group",)),
        extra_prefixes=_names(data, "extra-headers-prefix", ("X-Remote-Extra-",)),
        uid_headers=_names(data, "uid-headers", ("X-Remote-Uid",)),
    )


def _names(data: Mapping[str, str], key: str, default: Sequence[str]) -> tuple[str, ...]:
    text = data.get(PREFIX + key)
    if not text:
        return tuple(default)
    try:
        return tuple(msgspec.json.decode(text, type=list[str]))
    except msgspec.DecodeError as error:
        raise _wrong(PREFIX + key, f"is no JSON list: {error}") from error


def _wrong(key: str, why: str) -> DpuError:
    return DpuError(
        Reason.INVALID,
        f"ConfigMap {'/'.join(CONFIG_MAP)}: {key} {why}",
        field=f"data.{key}",
        remedy="start kube-apiserver with its requestheader flags, so that it writes this ConfigMap",
    )


def _first(headers: CIMultiDictProxy[str], names: Sequence[str]) -> str:
    return next((headers[name] for name in names if headers.get(name)), "")


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
