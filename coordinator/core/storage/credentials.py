"""Names and forms of the secrets that DPUs show to storage."""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Mapping

from proto.errors import DpuError
from proto.reasons import Reason

KEY_BYTES = 32
NAME_LIMIT = 63
PLAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

DHCHAP_KEY = "dhchapKey"
DHCHAP_CONTROLLER_KEY = "dhchapControllerKey"
TLS_PSK = "tlsPsk"
CEPHX_KEY = "cephxKey"
VOLUME_KEY = "key"
"""Keys of the values in Secrets."""

TEXTS = (DHCHAP_KEY, DHCHAP_CONTROLLER_KEY, TLS_PSK, CEPHX_KEY)


def set_name(dpu: str, backend: str) -> str:
    """Name of the set that a DPU shows to a backend; no other pair has the same."""
    name = f"{dpu}.{backend}"
    if PLAIN.fullmatch(dpu) and PLAIN.fullmatch(backend) and len(name) <= NAME_LIMIT:
        return name
    digest = hashlib.sha256(json.dumps([dpu, backend]).encode()).hexdigest()[:24]
    front = re.sub(r"[^a-z0-9]+", "-", dpu.lower()).strip("-")[:32].strip("-") or "dpu"
    return f"{front}.x.{digest}"


def secret_name(credentials: str) -> str:
    """Name of the Secret that keeps a set."""
    return f"storage-{credentials}"


def volume_set(volume_uid: str) -> str:
    """Name of the set with the key of an encrypted volume."""
    return f"volume-{volume_uid}"


def new_secrets(transport: str, random: Callable[[int], bytes]) -> dict[str, bytes]:
    """A fresh set for a transport, as the values of a Secret.

    Args:
        random: gives so many unpredictable bytes.
    """
    if transport.startswith("nbd"):
        return {TLS_PSK: random(KEY_BYTES).hex().encode()}
    return {
        DHCHAP_KEY: _dhchap(random(KEY_BYTES)),
        DHCHAP_CONTROLLER_KEY: _dhchap(random(KEY_BYTES)),
        TLS_PSK: _interchange("NVMeTLSkey-1:01", random(KEY_BYTES)),
    }


def without_tls(values: Mapping[str, bytes]) -> dict[str, bytes]:
    """A set for a target that authenticates and does not encrypt; one of NBD does nothing but both."""
    plain = {key: value for key, value in values.items() if key != TLS_PSK}
    return plain or dict(values)


def volume_key(values: Mapping[str, bytes], secret: str) -> bytes:
    """The AES-XTS key in a Secret.

    Raises:
        DpuError: INVALID; it has none, or one of a wrong length, or one whose halves are the same.
    """
    key = values.get(VOLUME_KEY, b"")
    half = len(key) // 2
    if len(key) in {32, 64} and key[:half] != key[half:]:
        return key
    trouble = "equal halves, which XTS does not allow" if len(key) in {32, 64} else f"{len(key)} bytes"
    raise DpuError(
        Reason.INVALID,
        f"value {VOLUME_KEY!r} of Secret {secret} has {trouble}",
        field="spec.encryption.secretRef.name",
        remedy="put 32 or 64 random bytes there: head -c 64 /dev/urandom",
    )


def _dhchap(key: bytes) -> bytes:
    """As nvme-cli's gen-dhchap-key writes one that is transformed with SHA-256."""
    return _interchange("DHHC-1:01", key)


def _interchange(front: str, key: bytes) -> bytes:
    """The text form of NVMe secrets: the key and its CRC-32, least significant byte first."""
    checked = base64.b64encode(key + zlib.crc32(key).to_bytes(4, "little")).decode()
    return f"{front}:{checked}:".encode()
