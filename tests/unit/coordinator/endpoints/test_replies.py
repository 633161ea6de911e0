import msgspec
import pytest

from coordinator.endpoints.replies import refused, status_of
from proto.errors import DpuError
from proto.reasons import Reason


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_becomes_a_status_with_an_error_code(reason: Reason) -> None:
    status = status_of(DpuError(reason, "it is so"))
    assert status["kind"] == "Status"
    assert 400 <= status["code"] < 600


def test_field_and_remedy_stand_in_the_message_for_kubectl_and_as_causes_for_programs() -> None:
    reply = refused(DpuError(Reason.INVALID, "no such size", field="spec.size", remedy="give one"))
    body = msgspec.json.decode(str(reply.text))
    assert reply.status == 400
    assert body["message"] == "spec.size: no such size (give one)"
    assert [cause.get("field") for cause in body["details"]["causes"]] == ["spec.size", None]
