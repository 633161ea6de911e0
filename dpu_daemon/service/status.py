"""Errors on the wire: google.rpc.Status with an ErrorInfo that machines can read."""

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from proto.errors import DpuError

DOMAIN = "dpupool.io"


def to_status(error: DpuError) -> status_pb2.Status:
    """The error as a status: canonical code, the sentence, and reason, field, remedy and retry as ErrorInfo."""
    metadata = {"retry": "true" if error.retry else "false"}
    if error.field:
        metadata["field"] = error.field
    if error.remedy:
        metadata["remedy"] = error.remedy
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=metadata))
    code = code_pb2.Code.Value(error.wire.grpc)
    return status_pb2.Status(code=code, message=error.message, details=[detail])


def code_of(error: DpuError) -> grpc.StatusCode:
    """The gRPC code of an error."""
    return grpc.StatusCode[error.wire.grpc]
