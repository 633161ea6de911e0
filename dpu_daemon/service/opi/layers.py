"""What lies between a volume and its front end, on the wire: limits and encryption."""

from typing import Any

from dpu_daemon.engine.opi.objects import OpiView
from dpu_daemon.model.opi import NO_LIMITS, Cipher, EncryptedVolume, OpiKind, OpiSpec, QosVolume
from dpu_daemon.service.opi.checks import from_limits, limits_of, refuse_minimum, required, unsupported
from dpu_daemon.service.opi.codec import Codec, spec_of
from dpu_daemon.service.opi.names import check_volume
from dpu_daemon.service.validation import invalid
from proto.opi_api.storage.v1 import middleend_encryption_pb2, middleend_qos_volume_pb2
from proto.opi_api.storage.v1 import opicommon_pb2 as common

_CIPHERS: dict[int, Cipher] = {
    common.ENCRYPTION_TYPE_AES_XTS_128: Cipher.AES_XTS_128,
    common.ENCRYPTION_TYPE_AES_XTS_256: Cipher.AES_XTS_256,
}
_CIPHER_NUMBERS = {cipher: number for number, cipher in _CIPHERS.items()}


def _qos(message: Any) -> tuple[OpiSpec, bytes]:
    limits = required("qos_volume", message, "limits")
    refuse_minimum("qos_volume.limits.min", limits.min)
    wanted = limits_of("qos_volume.limits.max", limits.max)
    if wanted == NO_LIMITS:
        raise invalid("qos_volume.limits.max", "limits nothing", "give a limit, or delete the QoS volume")
    volume = check_volume("qos_volume.volume_name_ref", message.volume_name_ref, limits_too=False)
    return QosVolume(volume_name_ref=volume, limits=wanted), b""


def _from_qos(view: OpiView) -> Any:
    spec = spec_of(view, QosVolume)
    message = middleend_qos_volume_pb2.QosVolume(name=view.record.name, volume_name_ref=spec.volume_name_ref)
    message.limits.max.CopyFrom(from_limits(spec.limits))
    return message


def _encrypted(message: Any) -> tuple[OpiSpec, bytes]:
    field = "encrypted_volume"
    if message.cipher not in _CIPHERS:
        if message.cipher == common.ENCRYPTION_TYPE_UNSPECIFIED:
            raise invalid(f"{field}.cipher", "is not given", "use AES_XTS_128 or AES_XTS_256")
        text = "SPDK's software encrypts with AES-XTS and keys of 128 or 256 bits"
        raise unsupported(f"{field}.cipher", text, "use AES_XTS_128 or AES_XTS_256")
    cipher = _CIPHERS[message.cipher]
    if message.key:
        _check_key(f"{field}.key", message.key, cipher)
    volume = check_volume(f"{field}.volume_name_ref", message.volume_name_ref)
    return EncryptedVolume(volume_name_ref=volume, cipher=cipher), message.key


def _check_key(field: str, key: bytes, cipher: Cipher) -> None:
    half = cipher.key_bytes // 2
    if len(key) != cipher.key_bytes:
        raise invalid(field, f"has {len(key)} bytes", f"send {cipher.key_bytes}: the two keys of XTS")
    if key[:half] == key[half:]:
        raise invalid(field, "has two equal halves, which XTS forbids", "send two different keys")


def _from_encrypted(view: OpiView) -> Any:
    spec = spec_of(view, EncryptedVolume)
    return middleend_encryption_pb2.EncryptedVolume(
        name=view.record.name,
        volume_name_ref=spec.volume_name_ref,
        cipher=_CIPHER_NUMBERS[spec.cipher],  # type: ignore[arg-type]
    )


QOS = Codec(
    kind=OpiKind.QOS_VOLUME,
    noun="QosVolume",
    field="qos_volume",
    module=middleend_qos_volume_pb2,
    read=_qos,
    write=_from_qos,
    lists_by_parent=True,
)
ENCRYPTED = Codec(
    kind=OpiKind.ENCRYPTED_VOLUME,
    noun="EncryptedVolume",
    field="encrypted_volume",
    module=middleend_encryption_pb2,
    read=_encrypted,
    write=_from_encrypted,
    needs_secret=True,
    lists_by_parent=True,
)
