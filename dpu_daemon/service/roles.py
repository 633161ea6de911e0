"""Who may call what: one table, and how a peer's certificate names its role."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

from proto.errors import DpuError
from proto.reasons import Reason

if TYPE_CHECKING:
    from cryptography import x509


class Role(Enum):
    """Subject O of a client certificate."""

    COORDINATOR = "dpupool:coordinator"
    ADMIN = "dpupool:admin"
    DPU = "dpupool:dpu"
    STORAGE = "dpupool:storage"
    HOST = "dpupool:host"
    OPI = "dpupool:opi"


_CONTROL = frozenset({Role.COORDINATOR})
_READ = frozenset({Role.COORDINATOR, Role.ADMIN})
_HOST = frozenset({Role.HOST})
_ANYBODY_KNOWN = frozenset(Role)

ROLES: Mapping[str, frozenset[Role]] = {
    "/dpu.v1.StorageService/Attach": _CONTROL,
    "/dpu.v1.StorageService/Detach": _CONTROL,
    "/dpu.v1.StorageService/GetAttachment": _READ,
    "/dpu.v1.StorageService/ListAttachments": _READ,
    "/dpu.v1.StorageService/Resize": _CONTROL,
    "/dpu.v1.StorageService/SetQos": _CONTROL,
    "/dpu.v1.StorageService/GetStats": _READ,
    "/dpu.v1.StorageService/PutCredentials": _CONTROL,
    "/dpu.v1.StorageService/DeleteCredentials": _CONTROL,
    "/dpu.v1.NetworkService/PlugPort": _CONTROL,
    "/dpu.v1.NetworkService/UnplugPort": _CONTROL,
    "/dpu.v1.NetworkService/GetPort": _READ,
    "/dpu.v1.NetworkService/ListPorts": _READ,
    "/dpu.v1.AssignmentService/PutAssignments": _CONTROL,
    "/dpu.v1.AssignmentService/DeleteAssignments": _CONTROL,
    "/dpu.v1.AssignmentService/ListAssignments": _READ,
    "/dpu.v1.PodPortService/AcquirePort": _HOST,
    "/dpu.v1.PodPortService/ReleasePort": _HOST,
    "/dpu.v1.PodPortService/CheckPort": _HOST,
    "/dpu.v1.PodPortService/CollectPorts": _HOST,
    "/dpu.v1.PodPortService/AwaitPort": _HOST,
    "/dpu.v1.PodPortService/GetReadiness": _HOST,
    "/dpu.v1.OffloadService/GetOffload": _READ,
    "/dpu.v1.OffloadService/ListFlows": _READ,
    "/dpu.v1.LifecycleService/PutSeed": _CONTROL,
    "/dpu.v1.LifecycleService/DeleteSeed": _CONTROL,
    "/dpu.v1.LifecycleService/WaitAnswer": _CONTROL,
    "/dpu.v1.LifecycleService/ReleaseMachine": _CONTROL,
    "/dpu.v1.LifecycleService/GetMachine": _READ,
    "/dpu.v1.HostService/GetDaemon": _READ | {Role.HOST},
    "/dpu.v1.HostService/GetUsage": _READ,
    "/dpu.v1.HostService/WatchEvents": _READ,
    "/dpu.v1.TargetService/ImportImage": _CONTROL,
    "/dpu.v1.TargetService/DeleteImage": _CONTROL,
    "/dpu.v1.TargetService/ListImages": _READ,
    "/dpu.v1.TargetService/CreateVolume": _CONTROL,
    "/dpu.v1.TargetService/DeleteVolume": _CONTROL,
    "/dpu.v1.TargetService/GetVolume": _READ,
    "/dpu.v1.TargetService/ListVolumes": _READ,
    "/dpu.v1.TargetService/ResizeVolume": _CONTROL,
    "/dpu.v1.TargetService/ExportVolume": _CONTROL,
    "/dpu.v1.TargetService/UnexportVolume": _CONTROL,
    "/dpu.v1.TargetService/GetCapacity": _READ,
    "/dpu.v1.TargetService/CreateSnapshots": _CONTROL,
    "/dpu.v1.TargetService/DeleteSnapshot": _CONTROL,
    "/dpu.v1.TargetService/ListSnapshots": _READ,
    "/dpu.v1.TargetService/PutCredentials": _CONTROL,
    "/dpu.v1.TargetService/DeleteCredentials": _CONTROL,
    "/dpu.v1.CpuService/GetCpus": _READ,
    "/dpu.v1.CpuService/SetBindings": _CONTROL,
    "/dpu.v1.CpuService/ResizePods": _CONTROL,
    "/dpu.v1.CpuService/WatchUsage": _READ,
    "/grpc.health.v1.Health/Check": _ANYBODY_KNOWN,
    "/grpc.health.v1.Health/Watch": _ANYBODY_KNOWN,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _READ,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _READ,
}


OPI = "/opi_api."
"""How paths of the OPI API begin."""


@cache
def opi_roles() -> Mapping[str, frozenset[Role]]:
    """The same for the OPI API, which only a DPU serves: the others never load its messages."""
    from dpu_daemon.service.opi.admission import opi_methods  # noqa: PLC0415

    return {method: (_CONTROL if changes else _READ) | {Role.OPI} for method, changes in opi_methods()}


@dataclass(frozen=True, slots=True)
class Peer:
    """Who calls: the certificate's common name and role; `role` is None on a socket that needs no certificate."""

    name: str
    role: Role | None


LOCAL = Peer("local", None)
"""The peer on a Unix socket or in a test: file permissions, or nobody, decided who may connect."""


def peer_of(auth_context: Mapping[str, object]) -> Peer:
    """Who stands behind a connection with a verified certificate.

    Raises:
        DpuError: UNAUTHENTICATED when there is no certificate, or its organization is no role.
    """
    # A daemon on a Unix socket sees no certificate; reading them costs 9 MB.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    chain = auth_context.get("x509_pem_cert")
    pem = chain[0] if isinstance(chain, list | tuple) and chain else None
    if not isinstance(pem, bytes):
        raise _nobody("no client certificate was shown")
    subject = x509.load_pem_x509_certificate(pem).subject
    name = _attribute(subject, NameOID.COMMON_NAME)
    organization = _attribute(subject, NameOID.ORGANIZATION_NAME)
    try:
        return Peer(name, Role(organization))
    except ValueError as error:
        raise _nobody(f"certificate {name!r} has organization {organization!r}, which is no role") from error


def _attribute(subject: "x509.Name", oid: "x509.ObjectIdentifier") -> str:
    values = subject.get_attributes_for_oid(oid)
    return str(values[0].value) if values else ""


def _nobody(message: str) -> DpuError:
    roles = ", ".join(role.value for role in Role)
    remedy = f"use a certificate whose subject O is one of {roles}"
    return DpuError(Reason.UNAUTHENTICATED, message, remedy=remedy)


def admit(peer: Peer, method: str) -> None:
    """Let the peer call the method.

    Raises:
        DpuError: FORBIDDEN naming the roles that may; a method that is in no table is nobody's.
    """
    if peer.role is None:
        return
    allowed = (opi_roles() if method.startswith(OPI) else ROLES).get(method, frozenset())
    if peer.role in allowed:
        return
    needed = " or ".join(sorted(role.value for role in allowed)) or "a method of this daemon"
    message = f"{peer.name} has role {peer.role.value}; {method} needs {needed}"
    raise DpuError(Reason.FORBIDDEN, message, remedy=f"call with a certificate of {needed}")
