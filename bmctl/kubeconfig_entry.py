"""A connection as an entry of kubeconfig files: printed and merged."""

import base64
from typing import Any

from bmctl.kubeconfig import Connection


def document(connection: Connection, name: str) -> dict[str, Any]:
    """A kubeconfig with this connection alone, credentials inside, every entry called ``name``."""
    cluster: dict[str, Any] = {"server": connection.server}
    if connection.ca_pem:
        cluster["certificate-authority-data"] = _b64(connection.ca_pem)
    if not connection.verify:
        cluster["insecure-skip-tls-verify"] = True
    if connection.server_name:
        cluster["tls-server-name"] = connection.server_name
    user: dict[str, Any] = {}
    if connection.certificate_pem and connection.key_pem:
        user["client-certificate-data"] = _b64(connection.certificate_pem)
        user["client-key-data"] = _b64(connection.key_pem)
    if connection.token:
        user["token"] = connection.token
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": connection.namespace}},
        ],
        "current-context": name,
    }


def merge(into: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """``into`` with the entries of ``new`` added or replaced by name, and its context made current."""
    merged = {"apiVersion": "v1", "kind": "Config", **into}
    for section in ("clusters", "users", "contexts"):
        fresh = {item["name"] for item in new[section]}
        kept = [item for item in into.get(section) or [] if item.get("name") not in fresh]
        merged[section] = kept + new[section]
    merged["current-context"] = new["current-context"]
    return merged


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
