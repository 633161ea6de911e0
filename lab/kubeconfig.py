"""The lab's kubeconfig: one cluster, an administrator and a viewer, certificates inside the file."""

import base64
import os
from pathlib import Path
from typing import Any

import yaml

from lab.ca import Authority, Identity, KeyPair, Role

ADMIN = Identity("admin", Role.ADMIN)
VIEWER = Identity("viewer", Role.VIEWER)


def _inline(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _user(name: str, pair: KeyPair) -> dict[str, Any]:
    user = {"client-certificate-data": _inline(pair.certificate), "client-key-data": _inline(pair.key)}
    return {"name": name, "user": user}


def document(lab: str, server: str, authority: Authority) -> dict[str, Any]:
    """The file's content; its current context is the administrator's."""
    users = {identity.name: authority.issue(identity) for identity in (ADMIN, VIEWER)}
    cluster = {"server": server, "certificate-authority-data": _inline(authority.ca_file)}
    contexts = [
        {"name": f"{lab}-{name}", "context": {"cluster": lab, "user": f"{lab}-{name}", "namespace": "default"}}
        for name in users
    ]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": f"{lab}-admin",
        "clusters": [{"name": lab, "cluster": cluster}],
        "users": [_user(f"{lab}-{name}", pair) for name, pair in users.items()],
        "contexts": contexts,
    }


def write(path: Path, lab: str, server: str, authority: Authority) -> None:
    """Write the file, readable by its owner only."""
    partial = path.with_suffix(".part")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        yaml.safe_dump(document(lab, server, authority), file, sort_keys=False)
    partial.replace(path)
