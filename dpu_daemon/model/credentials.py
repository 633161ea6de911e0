"""Secrets of one storage client or one volume."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A set of secrets under a name; its text form tells the name and nothing else.

    Attributes:
        name: letters, digits, dots and hyphens, at most 63 characters.
        dhchap_key: NVMe DH-HMAC-CHAP, as ``DHHC-1:...``.
        dhchap_controller_key: for the other direction.
        tls_psk: ``NVMeTLSkey-1:...`` for NVMe/TCP, hex digits for NBD.
        volume_key: of encryption at rest, AES-XTS, both halves.
        cephx_key: as ``USER:KEY``, or a key alone whose user is called like the set.
    """

    name: str
    dhchap_key: str = field(default="", repr=False)
    dhchap_controller_key: str = field(default="", repr=False)
    tls_psk: str = field(default="", repr=False)
    volume_key: bytes = field(default=b"", repr=False)
    cephx_key: str = field(default="", repr=False)
