"""The parts of a kubeconfig file that bmctl reads."""

from pathlib import Path
from typing import Any

import msgspec


class Cluster(msgspec.Struct, frozen=True):
    """A server and how it is checked."""

    server: str = ""
    ca_data: str = msgspec.field(name="certificate-authority-data", default="")
    ca_file: str = msgspec.field(name="certificate-authority", default="")
    insecure_skip_tls_verify: bool = msgspec.field(name="insecure-skip-tls-verify", default=False)
    tls_server_name: str = msgspec.field(name="tls-server-name", default="")


class User(msgspec.Struct, frozen=True):
    """Who the client says it is."""

    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    certificate_data: str = msgspec.field(name="client-certificate-data", default="")
    certificate_file: str = msgspec.field(name="client-certificate", default="")
    key_data: str = msgspec.field(name="client-key-data", default="")
    key_file: str = msgspec.field(name="client-key", default="")
    exec_plugin: dict[str, Any] | None = msgspec.field(name="exec", default=None)


class Context(msgspec.Struct, frozen=True):
    """A cluster, a user and a namespace."""

    cluster: str = ""
    user: str = ""
    namespace: str = ""


class NamedCluster(msgspec.Struct, frozen=True):
    """An entry of ``clusters``."""

    name: str
    cluster: Cluster


class NamedUser(msgspec.Struct, frozen=True):
    """An entry of ``users``."""

    name: str
    user: User


class NamedContext(msgspec.Struct, frozen=True):
    """An entry of ``contexts``."""

    name: str
    context: Context


class Kubeconfig(msgspec.Struct, frozen=True):
    """A kubeconfig file."""

    current_context: str = msgspec.field(name="current-context", default="")
    clusters: list[NamedCluster] = []
    users: list[NamedUser] = []
    contexts: list[NamedContext] = []

    def relative_to(self, folder: Path) -> "Kubeconfig":
        """The same, with the file names in it made relative to the file's own folder, as kubectl reads them."""
        return msgspec.structs.replace(
            self,
            clusters=[
                msgspec.structs.replace(
                    one,
                    cluster=msgspec.structs.replace(one.cluster, ca_file=_under(folder, one.cluster.ca_file)),
                )
                for one in self.clusters
            ],
            users=[msgspec.structs.replace(one, user=_user_under(folder, one.user)) for one in self.users],
        )


def _user_under(folder: Path, user: User) -> User:
    return msgspec.structs.replace(
        user,
        certificate_file=_under(folder, user.certificate_file),
        key_file=_under(folder, user.key_file),
        token_file=_under(folder, user.token_file),
    )


def _under(folder: Path, file: str) -> str:
    return str(folder / file) if file else ""
