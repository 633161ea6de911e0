"""Who stands behind a gRPC connection with a verified certificate: name and role, of the roles that a service knows."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from cryptography import x509
from cryptography.x509.oid import NameOID

from proto.errors import DpuError
from proto.reasons import Reason

Role = TypeVar("Role", bound=Enum)


def peer_of(auth: Mapping[str, Any], usual: Role) -> tuple[str, Role]:
    """Common name and role; the role is the subject's O.

    Args:
        auth: of the call.
        usual: the role that most callers have, for the remedy; its enum is all there are.

    Raises:
        DpuError: UNAUTHENTICATED without a certificate, FORBIDDEN when its organization is no role here.
    """
    chain = auth.get("x509_pem_cert")
    if not chain:
        remedy = f"connect with a certificate of O={usual.value}"
        raise DpuError(Reason.UNAUTHENTICATED, "no client certificate was shown", remedy=remedy)
    subject = x509.load_pem_x509_certificate(chain[0]).subject
    name, *_ = [str(part.value) for part in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] or [""]
    organizations = [str(part.value) for part in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    found = next((role for role in type(usual) if role.value in organizations), None)
    if found is None:
        told = ", ".join(organizations) or "no organization"
        remedy = f"use a certificate of O={usual.value}"
        raise DpuError(Reason.FORBIDDEN, f"certificate {name!r} has {told}, which is no role here", remedy=remedy)
    return name, found
