from typing import Any

import pytest

from coordinator.endpoints.attachments import AttachmentActions
from coordinator.endpoints.subresources import Call, parse
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.endpoints.fakes import FakeDpus, FakeObjects

PATH = "/apis/subresources.dpupool.io/v1alpha1/namespaces/default/volumeattachments/data/stats"


def attachment(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "data", "namespace": "default", "uid": "a-1", "resourceVersion": "1"},
        "spec": {"volumeRef": {"name": "vol"}, "hostRef": {"name": "host-1"}},
        "status": status,
    }


def call() -> Call:
    found = parse("GET", PATH)
    assert found.resource == "volumeattachments/stats"
    return found


async def test_the_dpu_that_shows_a_disk_is_asked_what_it_moved() -> None:
    objects, dpus = FakeObjects(), FakeDpus()
    objects.attachments["data"] = attachment(dpu="dpu-1")
    told = await AttachmentActions(objects, dpus).stats(call())
    assert dpus.asked == [("dpu-1", "10.0.0.1:5000")]
    assert (told["volume"], told["host"]) == ("vol", "host-1")
    assert told["counters"] | {"readOps": 1, "readBytes": 4096} == told["counters"]


async def test_a_disk_that_is_nowhere_has_no_counters() -> None:
    objects = FakeObjects()
    objects.attachments["data"] = attachment()
    with pytest.raises(DpuError) as refused:
        await AttachmentActions(objects, FakeDpus()).stats(call())
    assert refused.value.reason is Reason.WRONG_STATE


async def test_a_block_layer_that_does_not_count_says_so() -> None:
    objects, dpus = FakeObjects(), FakeDpus()
    objects.attachments["data"] = attachment(dpu="dpu-1")
    dpus.error = DpuError(Reason.UNSUPPORTED, "it does not count")
    with pytest.raises(DpuError) as refused:
        await AttachmentActions(objects, dpus).stats(call())
    assert refused.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize("path", [PATH.replace("stats", "start"), PATH.replace("volumeattachments", "volumes")])
def test_attachments_have_no_other_action(path: str) -> None:
    with pytest.raises(DpuError) as refused:
        parse("GET", path)
    assert refused.value.reason is Reason.NOT_FOUND
