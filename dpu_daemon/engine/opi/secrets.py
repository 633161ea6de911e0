"""Secrets that OPI clients hand in: kept in the store of credentials, never in journal, log or answer."""

import hmac
from collections.abc import Collection

from dpu_daemon.engine.protocols import CredentialStore
from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.opi import OpiKind

PREFIX = "opi."
"""Of the names of sets that belong to OPI objects; no caller's name has it in common with a handle after it."""


class OpiSecrets:
    """The secrets of OPI objects.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: CredentialStore) -> None:
        self._store = store

    def keep(self, handle: str, kind: OpiKind, secret: bytes) -> str:
        """Store an object's secret; returns the name of the set."""
        name = f"{PREFIX}{handle}"
        self._store.put(_credentials(name, kind, secret))
        return name

    def same(self, name: str, kind: OpiKind, secret: bytes) -> bool:
        """Whether this is the secret under that name."""
        has, wants = self._store.get(name), _credentials(name, kind, secret)
        return hmac.compare_digest(has.tls_psk.encode(), wants.tls_psk.encode()) and hmac.compare_digest(
            has.volume_key, wants.volume_key
        )

    def forget_all_but(self, names: Collection[str]) -> None:
        """Delete what no object names: a crash left it between two writes."""
        for name in self._store.names():
            if name.startswith(PREFIX) and name not in names:
                self._store.delete(name)


def _credentials(name: str, kind: OpiKind, secret: bytes) -> Credentials:
    if kind is OpiKind.ENCRYPTED_VOLUME:
        return Credentials(name=name, volume_key=secret)
    return Credentials(name=name, tls_psk=secret.decode("ascii"))
