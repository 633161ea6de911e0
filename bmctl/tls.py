"""The TLS side of a connection."""

import os
import ssl
import tempfile
from pathlib import Path

from bmctl.kubeconfig import Connection
from proto.errors import DpuError
from proto.reasons import Reason


def client_context(connection: Connection) -> ssl.SSLContext:
    """A TLS context that checks the server and shows the client's certificate.

    Raises:
        DpuError: a certificate or key of the kubeconfig is not one (INVALID).
    """
    try:
        cadata = connection.ca_pem.decode() if connection.ca_pem else None
        context = ssl.create_default_context(cadata=cadata)
        if connection.certificate_pem and connection.key_pem:
            _load_pair(context, connection.certificate_pem, connection.key_pem)
    except (ssl.SSLError, ValueError) as error:
        raise DpuError(
            Reason.INVALID,
            f"the certificates of context {connection.context} cannot be used: {error}",
            field="users[].user.client-certificate",
            remedy="get a fresh kubeconfig",
        ) from error
    if not connection.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a pair from memory; the ssl module only reads files, so it passes through one only we can read."""
    descriptor, name = tempfile.mkstemp(prefix="bmctl-")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate.rstrip() + b"\n" + key)
        context.load_cert_chain(path)
    finally:
        path.unlink()
