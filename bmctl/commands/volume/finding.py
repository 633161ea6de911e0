"""The objects around a volume, as the API has them."""

from bmctl.api import Api
from bmctl.kinds import ATTACHMENT, Kind
from bmctl.objects import Object, dig, name_of
from coordinator.core.storage.size import MIB, parse_size, spell_size
from proto.errors import DpuError
from proto.reasons import Reason


def items(api: Api, kind: Kind, selector: str = "", *, everywhere: bool = False) -> list[Object]:
    """Objects of a kind, by name.

    Args:
        api: the API.
        kind: the kind.
        selector: field selector.
        everywhere: all namespaces.
    """
    found = api.list(kind, {"fieldSelector": selector} if selector else None, everywhere=everywhere).get("items") or []
    return sorted(found, key=name_of)


def attachments_of(api: Api, volume: str) -> list[Object]:
    """The attachments that name a volume, by name."""
    return items(api, ATTACHMENT, f"spec.volumeRef.name={volume}")


def the_attachment(api: Api, volume: str, host: str | None) -> Object:
    """The one attachment of a volume, or that at a host.

    Raises:
        DpuError: NOT_FOUND; there is none. IN_USE; there are several and no host was named.
    """
    all_of_it = attachments_of(api, volume)
    found = [one for one in all_of_it if host is None or dig(one, "spec.hostRef.name") == host]
    if len(found) == 1:
        return found[0]
    hosts = ", ".join(str(dig(one, "spec.hostRef.name")) for one in all_of_it)
    if found:
        message, remedy = f"volume {volume} is attached to {hosts}", "name the host after the volume"
        raise DpuError(Reason.IN_USE, message, field="HOST", remedy=remedy)
    if host and hosts:
        message, remedy = f"volume {volume} is not attached to {host}, but to {hosts}", f"name {hosts}"
    else:
        message = f"volume {volume} is attached to no host"
        remedy = f"`bmctl volume attach {volume} HOST` shows it to one"
    raise DpuError(Reason.NOT_FOUND, message, field="HOST", remedy=remedy)


def size_of(volume: Object) -> int:
    """Bytes that a volume has, or was promised: it cannot have less than that again."""
    had = int(dig(volume, "status.requestedBytes") or dig(volume, "status.sizeBytes") or 0)
    return had or parse_size(dig(volume, "spec.size"), "spec.size")


def spelled(size_bytes: int) -> str:
    """Bytes as spec.size takes them, in whole MiB."""
    return spell_size(-(-size_bytes // MIB) * MIB)


def source_of(volume: Object) -> tuple[str, str] | None:
    """Kind's word and name of what a volume was made from; None for a blank one."""
    for word in ("image", "snapshot", "volume"):
        name = dig(volume, f"spec.source.{word}Ref.name")
        if name:
            return word, str(name)
    return None


def ready_words(obj: Object) -> tuple[str, str]:
    """Reason and sentence of an object's condition Ready; empty where it has none yet."""
    for one in dig(obj, "status.conditions") or []:
        if one.get("type") == "Ready":
            return str(one.get("reason") or ""), str(one.get("message") or "")
    return "", ""


def is_ready(obj: Object) -> bool:
    """Whether condition Ready holds."""
    return any(
        one.get("type") == "Ready" and one.get("status") == "True" for one in dig(obj, "status.conditions") or []
    )
