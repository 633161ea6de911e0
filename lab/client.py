"""The little of the API that the lab itself uses: apply objects, read them, wait for a phase."""

import ssl
import time
from types import TracebackType
from typing import Any, Self

import httpx

from lab.ca import Authority, Identity
from lab.kubeconfig import ADMIN
from proto.errors import DpuError
from proto.reasons import Reason

FIELD_MANAGER = "dpupool-lab"
PLURALS = {
    "Namespace": "namespaces",
    "Secret": "secrets",
    "Image": "images",
    "Network": "networks",
    "Subnet": "subnets",
    "Dpu": "dpus",
    "BareMetalHost": "baremetalhosts",
    "BareMetalMachine": "baremetalmachines",
    "Volume": "volumes",
    "VolumeAttachment": "volumeattachments",
    "Snapshot": "snapshots",
    "ServerPool": "serverpools",
    "Node": "nodes",
    "Pod": "pods",
    "NetworkNode": "networknodes",
    "Port": "ports",
}
POLL_S = 0.1
Object = dict[str, Any]


class LabApi:
    """A blocking client with a certificate of the lab.

    Args:
        server: such as ``https://127.0.0.1:6443``.
        authority: of the lab.
        caller: whose certificate it shows; the administrator's unless told otherwise.
    """

    def __init__(self, server: str, authority: Authority, caller: Identity = ADMIN) -> None:
        pair = authority.issue(caller)
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        context.load_cert_chain(pair.certificate, pair.key)
        self._http = httpx.Client(base_url=server, verify=context, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def apply(self, wanted: Object) -> Object:
        """Server-side apply."""
        metadata = wanted["metadata"]
        path = self.path(wanted["apiVersion"], wanted["kind"], metadata["name"], metadata.get("namespace"))
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return self._call("PATCH", path, query, wanted, "application/apply-patch+yaml")

    def merge(self, path: str, patch: Object) -> Object:
        """JSON merge patch."""
        return self._call("PATCH", path, {}, patch, "application/merge-patch+json")

    def get(self, path: str) -> Object | None:
        """An object or a list; None when it is absent."""
        try:
            return self._call("GET", path, {}, None, "application/json")
        except DpuError as error:
            if error.reason is Reason.NOT_FOUND:
                return None
            raise

    def delete(self, path: str) -> None:
        """Ask for deletion; absent is fine."""
        try:
            self._call("DELETE", path, {}, None, "application/json")
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise

    @staticmethod
    def path(api_version: str, kind: str, name: str = "", namespace: str | None = None) -> str:
        """Path of an object, or of its collection when name is empty."""
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        middle = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{middle}/{PLURALS[kind]}" + (f"/{name}" if name else "")

    def wait_phase(self, path: str, phases: set[str], timeout_s: float) -> Object:
        """Poll until status.phase is one of those.

        Raises:
            DpuError: DEADLINE, with the phase and the conditions as they are.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.get(path) or {}
            status = found.get("status", {})
            if status.get("phase") in phases:
                return found
            if time.monotonic() > deadline:
                why = "; ".join(each["message"] for each in status.get("conditions", []) if each.get("message"))
                message = f"{path} is {status.get('phase', 'without a phase')} after {timeout_s:g} s: {why}"
                raise DpuError(Reason.DEADLINE, message, remedy="see `bmctl lab logs coordinator`")
            time.sleep(POLL_S)

    def _call(self, verb: str, path: str, query: dict[str, str], body: Object | None, kind: str) -> Object:
        try:
            said = self._http.request(verb, path, params=query, json=body, headers={"content-type": kind})
        except httpx.HTTPError as error:
            message = f"the API does not answer: {error}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="see `bmctl lab status`") from error
        if said.status_code == httpx.codes.NOT_FOUND:
            raise DpuError(Reason.NOT_FOUND, f"{path} does not exist")
        if said.is_error:
            raise DpuError(Reason.INVALID, f"{verb} {path}: {_message_of(said)}")
        answer: Object = said.json()
        return answer


def _message_of(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}: {response.text[:200]}"
