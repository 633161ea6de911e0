"""Kubeconfig files: read, and a connection chosen from them."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import yaml

from bmctl.kubeconfig_schema import Cluster, Kubeconfig, NamedCluster, NamedContext, NamedUser, User
from proto.errors import DpuError
from proto.reasons import Reason

Named = TypeVar("Named", NamedCluster, NamedContext, NamedUser)

NO_SERVER = "start the lab with `bmctl lab up`, or name a file with --kubeconfig or $KUBECONFIG"


@dataclass(frozen=True)
class Connection:
    """One way into one API server.

    Attributes:
        context: name of the context it came from.
        server: URL without a trailing slash.
        namespace: namespace of the context.
        ca_pem: authorities that the server is checked with; the system's when None.
        certificate_pem: client certificate, with key_pem; None without one.
        key_pem: key of the client certificate.
        token: bearer token; None without one.
        verify: whether the server's certificate is checked at all.
        server_name: name expected in that certificate; the URL's host when None.
    """

    context: str
    server: str
    namespace: str = "default"
    ca_pem: bytes | None = None
    certificate_pem: bytes | None = None
    key_pem: bytes | None = None
    token: str | None = None
    verify: bool = True
    server_name: str | None = None


def load(files: Sequence[Path]) -> Kubeconfig:
    """Read and merge kubeconfig files; the first to name a thing wins.

    Raises:
        DpuError: no file exists (NOT_FOUND), or one is not a kubeconfig (INVALID, with the field).
    """
    found = [_read(path) for path in files if path.exists()]
    if not found:
        names = ", ".join(str(path) for path in files)
        raise DpuError(Reason.NOT_FOUND, f"no kubeconfig: {names} does not exist", remedy=NO_SERVER)
    return Kubeconfig(
        current_context=next((one.current_context for one in found if one.current_context), ""),
        clusters=[item for one in found for item in one.clusters],
        users=[item for one in found for item in one.users],
        contexts=[item for one in found for item in one.contexts],
    )


def _read(path: Path) -> Kubeconfig:
    try:
        document = yaml.safe_load(path.read_text()) or {}
        config = msgspec.convert(document, Kubeconfig)
    except OSError as error:
        raise DpuError(
            Reason.INVALID, f"{path} cannot be read: {error.strerror}", field="--kubeconfig", remedy="check the file"
        ) from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise DpuError(
            Reason.INVALID, f"{path} is not a kubeconfig: {error}", field="--kubeconfig", remedy="correct the file"
        ) from error
    return config.relative_to(path.parent)


def connect(config: Kubeconfig, context: str | None = None) -> Connection:
    """The connection that a context describes.

    Raises:
        DpuError: the context, its cluster or its user is not there, or a credential cannot be read.
    """
    name = context or config.current_context
    chosen = _find(config.contexts, name, "context", "contexts").context
    cluster = _find(config.clusters, chosen.cluster, "cluster", f"contexts[{name}].cluster").cluster
    user = _find(config.users, chosen.user, "user", f"contexts[{name}].user").user if chosen.user else User()
    _check(cluster, user, name)
    return Connection(
        context=name,
        server=cluster.server.rstrip("/"),
        namespace=chosen.namespace or "default",
        ca_pem=_pem(cluster.ca_data, cluster.ca_file, "certificate-authority"),
        certificate_pem=_pem(user.certificate_data, user.certificate_file, "client-certificate"),
        key_pem=_pem(user.key_data, user.key_file, "client-key"),
        token=_token(user),
        verify=not cluster.insecure_skip_tls_verify,
        server_name=cluster.tls_server_name or None,
    )


def _find(items: Sequence[Named], name: str, what: str, field: str) -> Named:
    for item in items:
        if item.name == name:
            return item
    known = ", ".join(item.name for item in items) or "none"
    message = f"there is no {what} {name!r}" if name else f"no {what} is chosen"
    raise DpuError(Reason.INVALID, message, field=field, remedy=f"use one of: {known}")


def _check(cluster: Cluster, user: User, context: str) -> None:
    if not cluster.server.startswith(("https://", "http://")):
        raise DpuError(
            Reason.INVALID,
            f"context {context} has no server URL",
            field="clusters[].cluster.server",
            remedy="give https://ADDRESS:PORT",
        )
    if cluster.server.startswith("http://") and (user.token or user.token_file):
        raise DpuError(
            Reason.INVALID,
            f"context {context} would send its token over plain HTTP",
            field="clusters[].cluster.server",
            remedy="use https://",
        )
    if user.exec_plugin is not None:
        raise DpuError(
            Reason.UNSUPPORTED,
            f"context {context} gets its credentials from a plug-in, which bmctl does not run",
            field="users[].user.exec",
            remedy="use a context with a token or a client certificate",
        )


def _pem(data: str, file: str, field: str) -> bytes | None:
    try:
        if data:
            return base64.b64decode(data, validate=True)
        return Path(file).read_bytes() if file else None
    except (OSError, binascii.Error) as error:
        raise DpuError(
            Reason.INVALID, f"the kubeconfig's {field} cannot be read: {error}", field=field, remedy="correct it"
        ) from error


def _token(user: User) -> str | None:
    if user.token:
        return user.token
    data = _pem("", user.token_file, "tokenFile")
    return data.decode().strip() if data else None
