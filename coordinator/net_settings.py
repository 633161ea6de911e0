"""Settings of OVN, checked."""

from pathlib import Path

import msgspec

from proto.errors import DpuError
from proto.ovsdb.remotes import Method, TlsFiles, parse_remotes
from proto.reasons import Reason


class Ovn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OVN; without `northbound` there is none, and networks with driver ``ovn`` say so.

    Attributes:
        northbound: of its northbound database: ``unix:PATH``, ``tcp:ADDRESS:PORT`` or ``ssl:ADDRESS:PORT``; the
            servers of a cluster with commas between them.
        ca, cert, key: PEM files for ``ssl:``; those of [client] when absent.
    """

    northbound: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""


def check_ovn(asked: Ovn, fallback: tuple[str, str, str] | None) -> TlsFiles | None:
    """The files for ``ssl:``; None when they are not needed.

    Args:
        fallback: authority, certificate and key of this client elsewhere.

    Raises:
        DpuError: INVALID; names the key.
    """
    if not asked.northbound:
        return None
    remotes = parse_remotes(asked.northbound, "ovn.northbound")
    if all(remote.method is not Method.SSL for remote in remotes):
        return None
    files = []
    for number, name in enumerate(("ca", "cert", "key")):
        path = getattr(asked, name) or (fallback[number] if fallback else "")
        if not path:
            remedy = f"write it, or client.{name}, or use tcp: in a network that nobody else reaches"
            raise DpuError(Reason.INVALID, f"ovn.{name} is missing", field=f"ovn.{name}", remedy=remedy)
        files.append(Path(path))
    return TlsFiles(ca=files[0], cert=files[1], key=files[2])
