"""Fences: who may use a volume, and who is next."""

import pytest

from coordinator.core.objects.fleet import Dpu
from coordinator.core.objects.meta import Json, Metadata
from coordinator.core.objects.storage import Attachment, Volume
from coordinator.core.storage.attachment import FORCE_DETACH, claim_volume, disk_identity, dpu_is_gone, next_holder
from proto.errors import DpuError
from proto.reasons import Reason


def volume(generation: int = 0, holder: str = "") -> Volume:
    status: Json = {"attachGeneration": generation}
    if holder:
        status["attachmentRef"] = {"name": holder, "uid": holder}
    return Volume.parse({"metadata": {"name": "v"}, "spec": {"size": "1Gi"}, "status": status})


def attachment(uid: str, *, read_only: bool = False, generation: int = 0, deleting: bool = False) -> Attachment:
    meta: Json = {"name": uid, "uid": uid}
    if deleting:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec = {"volumeRef": {"name": "v"}, "hostRef": {"name": "h"}, "readOnly": read_only}
    return Attachment.parse({"metadata": meta, "spec": spec, "status": {"generation": generation}})


def test_a_free_volume_gets_the_next_generation() -> None:
    fence = claim_volume(volume(4), attachment("a"), {})
    assert (fence.generation, fence.bump) == (5, True)


def test_the_holder_keeps_its_generation() -> None:
    fence = claim_volume(volume(4, "a"), attachment("a"), {})
    assert (fence.generation, fence.bump) == (4, False)


def test_a_holder_that_is_no_more_is_fenced_off() -> None:
    fence = claim_volume(volume(4, "gone"), attachment("a"), {})
    assert (fence.generation, fence.bump) == (5, True)


def test_a_volume_in_use_is_refused_with_the_holder() -> None:
    with pytest.raises(DpuError, match="attached by b to host h") as caught:
        claim_volume(volume(4, "b"), attachment("a"), {"b": attachment("b")})
    assert caught.value.reason is Reason.IN_USE
    assert caught.value.retry


@pytest.mark.parametrize(("mine", "theirs"), [(True, False), (False, True)])
def test_one_writer_is_enough_to_refuse(mine: bool, theirs: bool) -> None:
    with pytest.raises(DpuError):
        claim_volume(volume(1, "b"), attachment("a", read_only=mine), {"b": attachment("b", read_only=theirs)})


def test_readers_share_a_generation_and_pass_it_on() -> None:
    reader = attachment("b", read_only=True, generation=4)
    fence = claim_volume(volume(4, "b"), attachment("a", read_only=True), {"b": reader})
    assert (fence.generation, fence.bump) == (4, False)
    second = attachment("a", read_only=True, generation=4)
    heir = next_holder(volume(4, "b"), reader, {"a": second, "b": reader})
    assert heir is not None
    assert heir.uid == "a"


def test_nobody_inherits_from_a_writer_or_while_going_itself() -> None:
    leaving = attachment("b", generation=4)
    assert next_holder(volume(4, "b"), leaving, {"b": leaving, "a": attachment("a")}) is None
    going = attachment("a", generation=4, deleting=True)
    assert next_holder(volume(4, "b"), leaving, {"a": going}) is None


def test_a_dpu_is_gone_when_its_object_is_or_when_it_is_offline_and_somebody_says_so() -> None:
    def dpu(phase: str) -> Dpu:
        return Dpu.parse({"metadata": {"name": "d"}, "spec": {"address": "a:1"}, "status": {"phase": phase}})

    marked = Metadata(annotations={FORCE_DETACH: ""})
    assert dpu_is_gone(None)
    assert not dpu_is_gone(dpu("Offline"), Metadata())
    assert not dpu_is_gone(dpu("Online"), marked)
    assert dpu_is_gone(dpu("Offline"), Metadata(), marked)


def test_a_volume_has_the_same_identity_wherever_it_is_attached() -> None:
    serial, nguid = disk_identity("12345678-1234-1234-1234-123456789ABC")
    assert serial == "12345678123412341234"
    assert nguid == "12345678123412341234123456789abc"
