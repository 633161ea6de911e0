"""What every collection does alike: create, get, list, update, delete."""

import asyncio

import grpc
import pytest

from proto.errors import DpuError
from proto.opi_api.storage.v1 import backend_null_pb2, middleend_qos_volume_pb2
from proto.reasons import Reason
from tests.fakes.opi_client import NQN, OpiClient, refused
from tests.fakes.opi_daemon import OpiDaemon

Code = grpc.StatusCode


async def test_a_created_volume_is_there_with_everything_chosen(opi: OpiClient, daemon: OpiDaemon) -> None:
    volume = await opi.make_null("n1")
    assert volume.name == "nullVolumes/n1"
    assert len(volume.uuid) == 36
    assert await opi.get("nullVolumes/n1") == volume
    assert [bdev.uuid for bdev in daemon.fake().state.bdevs.values()] == [volume.uuid]


async def test_the_server_chooses_an_id_where_none_is_given(opi: OpiClient) -> None:
    first, second = await opi.make_null(""), await opi.make_null("")
    assert first.name.startswith("nullVolumes/")
    assert first.name != second.name


async def test_creating_again_with_the_same_spec_returns_the_same_object(opi: OpiClient, daemon: OpiDaemon) -> None:
    first = await opi.make_null("n1")
    assert await opi.make_null("n1") == first
    assert await opi.make_null("n1", uuid=first.uuid) == first
    assert daemon.around.world.calls.count("opi.make_volume") == 1


async def test_creating_again_with_another_spec_is_refused_with_the_fields_name(opi: OpiClient) -> None:
    await opi.make_null("n1")
    with refused(Code.ALREADY_EXISTS) as error:
        await opi.make_null("n1", blocks=4096)
    assert error.said == "nullVolumes/n1 exists with blocks_count 2048"


@pytest.mark.parametrize("name", ["a b", "-x", "x" * 64, "ü", "a/b"])
async def test_a_resource_id_that_is_none_is_refused(opi: OpiClient, name: str) -> None:
    with refused(Code.INVALID_ARGUMENT):
        await opi.make_null(name)


@pytest.mark.parametrize("name", ["", "nullVolumes", "nullVolumes/", "mallocVolumes/n1", "nullVolumes/a/b"])
async def test_a_name_of_another_form_is_refused_with_the_pattern(opi: OpiClient, name: str) -> None:
    with refused(Code.INVALID_ARGUMENT):
        await opi.null.GetNullVolume(backend_null_pb2.GetNullVolumeRequest(name=name))


async def test_an_unknown_name_is_not_found(opi: OpiClient) -> None:
    with refused(Code.NOT_FOUND):
        await opi.get("nullVolumes/none")
    with refused(Code.NOT_FOUND):
        await opi.delete("nullVolumes/none")
    await opi.delete("nullVolumes/none", allow_missing=True)


async def test_a_parent_that_is_not_there_is_not_found(opi: OpiClient) -> None:
    await opi.make_null("n1")
    with refused(Code.NOT_FOUND) as error:
        await opi.make_namespace("nullVolumes/n1", subsystem="none")
    assert error.said == "nvmeSubsystems/none does not exist"


async def test_a_deleted_object_is_gone_from_the_block_layer(opi: OpiClient, daemon: OpiDaemon) -> None:
    await opi.make_null("n1")
    await opi.delete("nullVolumes/n1")
    assert daemon.fake().state.bdevs == {}
    assert (await opi.null.ListNullVolumes(backend_null_pb2.ListNullVolumesRequest())).null_volumes == []


async def test_a_referenced_object_is_not_deleted_and_the_error_says_who_needs_it(opi: OpiClient) -> None:
    await opi.make_null("n1")
    await opi.make_qos("nullVolumes/n1")
    await opi.make_subsystem()
    await opi.make_namespace("qosVolumes/q1")
    for name, holder in (
        ("nullVolumes/n1", "qosVolumes/q1"),
        ("qosVolumes/q1", "nvmeSubsystems/s1/nvmeNamespaces/ns1"),
        ("nvmeSubsystems/s1", "nvmeSubsystems/s1/nvmeNamespaces/ns1"),
    ):
        with refused(Code.FAILED_PRECONDITION) as error:
            await opi.delete(name)
        assert error.said == f"{name} is needed by {holder}"
    for name in ("nvmeSubsystems/s1/nvmeNamespaces/ns1", "nvmeSubsystems/s1", "qosVolumes/q1", "nullVolumes/n1"):
        await opi.delete(name)


async def test_pages_follow_each_other_while_objects_come_and_go(opi: OpiClient) -> None:
    for number in range(5):
        await opi.make_null(f"n{number}")
    page = await opi.null.ListNullVolumes(backend_null_pb2.ListNullVolumesRequest(page_size=2))
    assert [volume.name for volume in page.null_volumes] == ["nullVolumes/n0", "nullVolumes/n1"]
    await opi.delete("nullVolumes/n1")
    await opi.delete("nullVolumes/n3")
    await opi.make_null("n0-after")
    rest = await opi.null.ListNullVolumes(
        backend_null_pb2.ListNullVolumesRequest(page_size=50, page_token=page.next_page_token)
    )
    assert [volume.name for volume in rest.null_volumes] == ["nullVolumes/n2", "nullVolumes/n4"]
    assert rest.next_page_token == ""


async def test_a_negative_page_and_a_foreign_token_are_refused(opi: OpiClient) -> None:
    for request in (
        backend_null_pb2.ListNullVolumesRequest(page_size=-1),
        backend_null_pb2.ListNullVolumesRequest(page_token="x"),
        backend_null_pb2.ListNullVolumesRequest(page_token="bnVsbFZvbHVtZXMvbjE="),
    ):
        with refused(Code.INVALID_ARGUMENT):
            await opi.null.ListNullVolumes(request)


async def test_lists_of_layers_need_a_parent_and_may_ask_for_one_volume(opi: OpiClient) -> None:
    await opi.make_null("n1")
    await opi.make_null("n2")
    await opi.make_qos("nullVolumes/n1", "q1")
    await opi.make_qos("nullVolumes/n2", "q2")
    request = middleend_qos_volume_pb2.ListQosVolumesRequest
    with refused(Code.INVALID_ARGUMENT):
        await opi.qos.ListQosVolumes(request())
    both = await opi.qos.ListQosVolumes(request(parent="volumes"))
    assert [each.name for each in both.qos_volumes] == ["qosVolumes/q1", "qosVolumes/q2"]
    one = await opi.qos.ListQosVolumes(request(parent="nullVolumes/n2"))
    assert [each.name for each in one.qos_volumes] == ["qosVolumes/q2"]


async def test_an_update_changes_what_its_mask_names_and_nothing_else(opi: OpiClient, daemon: OpiDaemon) -> None:
    before = await opi.make_null("n1")
    message = backend_null_pb2.NullVolume(block_size=4096, blocks_count=8192)
    after = await opi.update("nullVolumes/n1", message, "blocks_count")
    assert (after.block_size, after.blocks_count, after.uuid) == (512, 8192, before.uuid)
    assert [bdev.blocks_count for bdev in daemon.fake().state.bdevs.values()] == [8192]


async def test_an_update_without_a_mask_means_what_is_set(opi: OpiClient) -> None:
    await opi.make_null("n1")
    after = await opi.update("nullVolumes/n1", backend_null_pb2.NullVolume(blocks_count=4096))
    assert (after.block_size, after.blocks_count) == (512, 4096)


async def test_a_star_replaces_the_object_and_what_the_server_chose_stays(opi: OpiClient) -> None:
    before = await opi.make_null("n1")
    after = await opi.update("nullVolumes/n1", backend_null_pb2.NullVolume(block_size=512, blocks_count=4096), "*")
    assert (after.blocks_count, after.uuid) == (4096, before.uuid)
    with refused(Code.INVALID_ARGUMENT):
        await opi.update("nullVolumes/n1", backend_null_pb2.NullVolume(blocks_count=4096), "*")


@pytest.mark.parametrize("path", ["nothing", "spec.nothing", "block_size.x", "", "uuid.a"])
async def test_an_unknown_path_of_a_mask_is_refused(opi: OpiClient, path: str) -> None:
    await opi.make_null("n1")
    with refused(Code.INVALID_ARGUMENT):
        await opi.update("nullVolumes/n1", backend_null_pb2.NullVolume(blocks_count=4096), path)


async def test_a_field_that_is_fixed_at_creation_is_named(opi: OpiClient) -> None:
    await opi.make_null("n1")
    with refused(Code.INVALID_ARGUMENT) as error:
        await opi.update("nullVolumes/n1", backend_null_pb2.NullVolume(block_size=4096), "block_size")
    assert error.said == "block_size of nullVolumes/n1 is fixed at creation"


async def test_a_volume_does_not_shrink(opi: OpiClient) -> None:
    await opi.make_null("n1")
    with refused(Code.INVALID_ARGUMENT) as error:
        await opi.update("nullVolumes/n1", backend_null_pb2.NullVolume(blocks_count=1024), "blocks_count")
    assert "do not shrink" in error.said


async def test_an_update_of_a_missing_object_makes_it_only_where_that_is_allowed(opi: OpiClient) -> None:
    message = backend_null_pb2.NullVolume(block_size=512, blocks_count=2048)
    with refused(Code.NOT_FOUND):
        await opi.update("nullVolumes/n1", message, "*")
    made = await opi.update("nullVolumes/n1", message, "*", allow_missing=True)
    assert made == await opi.get("nullVolumes/n1")


async def test_names_and_status_in_a_mask_are_the_servers_own(opi: OpiClient) -> None:
    before = await opi.make_subsystem(nqn=NQN)
    after = await opi.update("nvmeSubsystems/s1", type(before)(), "name", "status.firmware_revision")
    assert after == before


async def test_the_same_create_twenty_times_at_once_makes_one_object(opi: OpiClient, daemon: OpiDaemon) -> None:
    made = await asyncio.gather(*(opi.make_null("n1") for _ in range(20)))
    assert all(each == made[0] for each in made)
    assert daemon.around.world.calls.count("opi.make_volume") == 1


async def test_a_volume_that_two_want_at_once_goes_to_one(opi: OpiClient) -> None:
    await opi.make_null("n1")
    await opi.make_subsystem()
    results = await asyncio.gather(
        opi.make_namespace("nullVolumes/n1", "a"),
        opi.make_namespace("nullVolumes/n1", "b"),
        opi.make_virtio("nullVolumes/n1"),
        opi.delete("nullVolumes/n1"),
        return_exceptions=True,
    )
    assert sum(not isinstance(each, BaseException) for each in results) == 1


async def test_a_delete_that_the_block_layer_does_not_answer_goes_on_and_is_told(
    opi: OpiClient, daemon: OpiDaemon
) -> None:
    await opi.make_subsystem()
    await opi.make_null("n1")
    space = await opi.make_namespace("nullVolumes/n1")
    daemon.around.world.faults.errors["opi.remove_namespace"] = [DpuError(Reason.UNAVAILABLE, "lost")] * 2
    with refused(Code.UNAVAILABLE):
        await opi.delete(space.name)
    async with asyncio.timeout(30):
        while space.name in daemon.objects.ledger.opi:  # noqa: ASYNC110  (a deletion has no event of its own)
            await asyncio.sleep(0.01)
    assert [list(seen.namespaces) for seen in daemon.fake().state.subsystems.values()] == [[]]


async def test_an_update_that_fails_leaves_the_object_as_it_was(opi: OpiClient, daemon: OpiDaemon) -> None:
    before = await opi.make_null("n1")
    daemon.around.world.faults.errors["opi.grow_volume"] = [DpuError(Reason.INVALID, "no")] * 4
    with refused(Code.INVALID_ARGUMENT):
        await opi.update("nullVolumes/n1", backend_null_pb2.NullVolume(blocks_count=4096), "blocks_count")
    assert await opi.get("nullVolumes/n1") == before


async def test_a_call_whose_answer_got_lost_counts_by_what_is_there(opi: OpiClient, daemon: OpiDaemon) -> None:
    daemon.around.world.faults.lost_answers["opi.make_volume"] = [DpuError(Reason.UNAVAILABLE, "lost")]
    assert (await opi.make_null("n1")).name == "nullVolumes/n1"
    assert daemon.around.world.calls.count("opi.make_volume") == 1
