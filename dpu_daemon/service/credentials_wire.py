"""Credentials: wire to model. What is wrong with a secret is told without repeating it."""

from dpu_daemon.model.credentials import Credentials
from proto.dpu.v1 import storage_pb2


def to_credentials(sent: storage_pb2.StorageCredentials) -> Credentials:
    """A set as sent; the store checks it."""
    return Credentials(
        name=sent.name,
        dhchap_key=sent.dhchap_key,
        dhchap_controller_key=sent.dhchap_controller_key,
        tls_psk=sent.tls_psk,
        volume_key=sent.volume_key,
        cephx_key=sent.cephx_key,
    )
