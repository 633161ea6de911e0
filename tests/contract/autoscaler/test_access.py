"""Who may connect and call."""

import grpc
import pytest
from grpc import StatusCode

from proto.clusterautoscaler.externalgrpc import externalgrpc_pb2 as pb
from tests.contract.autoscaler.rig import Rig


async def test_without_a_certificate_there_is_no_connection(rig: Rig) -> None:
    async with rig.client("nobody") as cloud:
        code, _ = await rig.answer("NodeGroups", pb.NodeGroupsRequest(), cloud=cloud)
        assert code is StatusCode.UNAVAILABLE


@pytest.mark.parametrize("role", ["dpupool:dpu", "dpupool:coordinator", "someone"])
async def test_other_roles_are_told_which_one_it_takes(rig: Rig, role: str) -> None:
    async with rig.client("x", role) as cloud:
        code, words = await rig.answer("NodeGroups", pb.NodeGroupsRequest(), cloud=cloud)
        assert code is StatusCode.PERMISSION_DENIED
        assert f"'x' has {role}, which is no role here" in words
        assert "O=dpupool:autoscaler" in words


async def test_admins_look_and_change_nothing(rig: Rig) -> None:
    await rig.fleet.pool("a")
    async with rig.client("root", "dpupool:admin") as cloud:
        assert len((await cloud.NodeGroups(pb.NodeGroupsRequest())).nodeGroups) == 1
        request = pb.NodeGroupIncreaseSizeRequest(id="a", delta=1)
        assert (await rig.answer("NodeGroupIncreaseSize", request, cloud=cloud))[0] is StatusCode.PERMISSION_DENIED
    assert (await rig.fleet.spec("a"))["replicas"] == 0


async def test_a_certificate_of_another_authority_is_no_good(rig: Rig) -> None:
    other = type(rig.pki).create(rig.pki.directory, "other-ca")
    cert, key = other.issue("mallory", ("dpupool:autoscaler",))
    pair = key.read_bytes(), cert.read_bytes()
    credentials = grpc.ssl_channel_credentials(rig.pki.ca_file.read_bytes(), *pair)
    async with grpc.aio.secure_channel(f"localhost:{rig.provider_port}", credentials) as channel:
        call = channel.unary_unary("/clusterautoscaler.cloudprovider.v1.externalgrpc.CloudProvider/NodeGroups")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"")
        assert caught.value.code() is StatusCode.UNAVAILABLE


async def test_an_api_that_does_not_answer_is_told_as_unavailable(rig: Rig) -> None:
    from proto.errors import DpuError
    from proto.reasons import Reason

    async def silent(*_: object) -> object:
        raise DpuError(Reason.UNAVAILABLE, "the API server does not answer")

    rig.fleet.api.list = silent
    code, words = await rig.answer("Refresh", pb.RefreshRequest())
    assert (code, words) == (StatusCode.UNAVAILABLE, "the API server does not answer")


async def test_a_fault_of_ours_is_an_internal_error_and_ends_one_call_only(rig: Rig) -> None:
    await rig.fleet.pool("a")
    listing = rig.fleet.api.list

    async def broken(*_: object) -> object:
        raise KeyError("surprise")

    rig.fleet.api.list = broken
    code, words = await rig.answer("Refresh", pb.RefreshRequest())
    assert (code, words) == (StatusCode.INTERNAL, "a fault of the coordinator: KeyError")
    rig.fleet.api.list = listing
    assert (await rig.answer("Refresh", pb.RefreshRequest()))[0] is StatusCode.OK
