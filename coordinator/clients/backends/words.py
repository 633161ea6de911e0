"""What drivers say no to, and the small texts of their settings."""

from coordinator.clients.storage import VolumeWish
from coordinator.core.objects.meta import SecretRef
from proto.errors import DpuError
from proto.reasons import Reason


def refuse_parameters(who: str, wish: VolumeWish, known: tuple[str, ...]) -> None:
    """Let no parameter pass that means nothing.

    Raises:
        DpuError: INVALID; names the first.
    """
    for key in sorted(set(wish.parameters) - set(known)):
        words = ", ".join(known) or "none"
        raise DpuError(
            Reason.INVALID,
            f"{who} knows no parameter {key!r}",
            field=f"spec.parameters.{key}",
            remedy=f"take it out; known here: {words}",
        )


def unsupported(who: str, what: str, *, field: str, remedy: str) -> DpuError:
    """The refusal of what a backend cannot do."""
    return DpuError(Reason.UNSUPPORTED, f"{who} cannot {what}", field=field, remedy=remedy)


def secret_ref(text: str, field: str) -> SecretRef | None:
    """``NAMESPACE/NAME``; None for nothing.

    Raises:
        DpuError: INVALID.
    """
    if not text:
        return None
    namespace, slash, name = text.partition("/")
    if not namespace or not slash or not name or "/" in name:
        raise DpuError(Reason.INVALID, f"{text!r} names no Secret", field=field, remedy="write NAMESPACE/NAME")
    return SecretRef(namespace=namespace, name=name)


def split_address(text: str, field: str) -> tuple[str, int]:
    """Host and port of ``ADDRESS:PORT``.

    Raises:
        DpuError: INVALID.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise DpuError(Reason.INVALID, f"{text!r} is no address", field=field, remedy="write ADDRESS:PORT")
    return host.strip("[]"), int(port)
