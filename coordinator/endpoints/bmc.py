"""Where a machine's BMC serves its console, and how it is entered."""

import base64
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from coordinator.endpoints.objects import Object, Objects
from proto.errors import DpuError
from proto.reasons import Reason

CONSOLE_PATH = "/console"
SCHEMES = {"redfish+https": "wss", "redfish": "wss", "redfish+http": "ws"}


@dataclass(frozen=True)
class BmcConsole:
    """A BMC's console.

    Attributes:
        url: of the WebSocket.
        authorization: value of the Authorization header; never logged.
        tls: context to check the BMC with; None over plain HTTP.
        host: name of the BareMetalHost, for logs.
    """

    url: str
    authorization: str
    tls: ssl.SSLContext | None
    host: str


async def console_of(objects: Objects, machine: Object) -> BmcConsole:
    """The console of the server that a machine has.

    Raises:
        DpuError: the machine has no server (WRONG_STATE), its BMC has no console that we know (UNSUPPORTED), or the
            server's credentials or authority are wrong (INVALID, NOT_FOUND).
    """
    name = machine["metadata"]["name"]
    host_name = ((machine.get("status") or {}).get("hostRef") or {}).get("name")
    if not host_name:
        raise DpuError(
            Reason.WRONG_STATE,
            f"machine {name} has no server yet",
            field="status.hostRef",
            remedy=f"wait until it has one: bmctl timeline {name}",
            retry=True,
        )
    bmc = (await objects.host(host_name))["spec"]["bmc"]
    url = console_url(bmc["address"])
    return BmcConsole(
        url=url,
        authorization=await _authorization(objects, bmc["credentialsSecretRef"]),
        tls=await _tls(objects, bmc) if url.startswith("wss:") else None,
        host=host_name,
    )


def console_url(address: str) -> str:
    """URL of the console of a BMC.

    Args:
        address: spec.bmc.address.

    Raises:
        DpuError: the BMC is not reached by Redfish (UNSUPPORTED).
    """
    parts = urlsplit(address)
    scheme = SCHEMES.get(parts.scheme)
    if scheme is None:
        raise DpuError(
            Reason.UNSUPPORTED,
            f"a BMC at {parts.scheme}:// has no console WebSocket",
            field="spec.bmc.address",
            remedy="use a BMC with Redfish, or its own serial-over-LAN tool",
        )
    return f"{scheme}://{parts.netloc}{CONSOLE_PATH}"


async def _authorization(objects: Objects, ref: Object) -> str:
    data = await objects.secret(ref["namespace"], ref["name"])
    missing = [key for key in ("username", "password") if key not in data]
    if missing:
        raise DpuError(
            Reason.INVALID,
            f"Secret {ref['namespace']}/{ref['name']} has no {missing[0]}",
            field="spec.bmc.credentialsSecretRef",
            remedy="give it the keys username and password",
        )
    pair = data["username"].strip() + b":" + data["password"].strip()
    return f"Basic {base64.b64encode(pair).decode()}"


async def _tls(objects: Objects, bmc: Object) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if bmc.get("disableCertificateVerification"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    ref = bmc.get("caSecretRef")
    if not ref:
        return context
    data = await objects.secret(ref["namespace"], ref["name"])
    try:
        return ssl.create_default_context(cadata=data["ca.crt"].decode())
    except (KeyError, ssl.SSLError, ValueError) as error:
        raise DpuError(
            Reason.INVALID,
            f"Secret {ref['namespace']}/{ref['name']} has no usable ca.crt",
            field="spec.bmc.caSecretRef",
            remedy="put the BMC's authority there, PEM",
        ) from error
