"""The placement service by gRPC and REST: the same answers, refusals with field and reason, nothing changed by them."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from coordinator.endpoints.cpu.calls import PlacementCalls
from coordinator.endpoints.cpu.gate import Role
from coordinator.endpoints.cpu.server import PlacementServer
from coordinator.endpoints.peers import peer_of
from coordinator.placement_routes import placement_group
from proto.errors import DpuError
from proto.placement.v1 import placement_pb2 as pb
from proto.placement.v1 import placement_pb2_grpc
from tests.fakes.api import Pki, running_api
from tests.fakes.cpu import Site, check_books


@pytest.fixture
async def site() -> Site:
    made = Site()
    for name in ("n1", "n2"):
        await made.add_node(name, reserved="0", machineMax={"db": 2})
    return made


@pytest.fixture
async def calls(site: Site) -> PlacementCalls:
    return PlacementCalls(await site.scheduler())


@pytest.fixture
async def stub(calls: PlacementCalls) -> AsyncIterator[Any]:
    server = PlacementServer(calls)
    port = await server.start("127.0.0.1:0", None)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield placement_pb2_grpc.PlacementServiceStub(channel)
    await server.close()


def asked(request_id: str = "a", **instance: Any) -> pb.PlaceRequest:
    wanted: dict[str, Any] = {"application": "db", "mode": "exclusive", "cpus": 2, "memory_bytes": 1 << 30} | instance
    return pb.PlaceRequest(request_id=request_id, instance=pb.Instance(**wanted))


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    info = error_details_pb2.ErrorInfo()
    rpc_status.from_call(caught.value).details[0].Unpack(info)
    return caught.value.code(), info.reason, info.metadata["field"]


async def test_a_life_of_an_instance(stub: Any) -> None:
    placed = await stub.Place(asked())
    assert placed.phase == "Assumed"
    assert placed.node == "default/n1"
    assert placed.annotations["cpu-isolate-mode"] == "exclusive"
    assert await stub.Place(asked()) == placed
    lifted = await stub.Lift(pb.LiftRequest(request_id="a", lifted=True))
    assert lifted.allowed == "1-15"
    moved = await stub.Move(pb.MoveRequest(request_id="a", move_id="m1"))
    assert (moved.node, moved.lifted) == ("default/n2", False)
    assert await stub.Move(pb.MoveRequest(request_id="a", move_id="m1")) == moved
    cpu = int(moved.cpuset.split(",")[0].split("-")[0])
    told = await stub.GetNode(pb.GetNodeRequest(node="default/n2", cpu=cpu))
    assert [(use.holder, use.use) for use in told.cpus] == [("default/a", "exclusive")]
    assert (await stub.Release(pb.ReleaseRequest(request_id="a"))).was_there
    assert not (await stub.Release(pb.ReleaseRequest(request_id="a"))).was_there
    told = await stub.GetNode(pb.GetNodeRequest(node="default/n2", cpu=cpu))
    assert told.cpus[0].use == "shared"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (asked(mode="alone"), "instance.mode"),
        (asked(cpus=0), "instance.cpus"),
        (asked(policy="Best"), "instance.policy"),
        (asked(numa="Two"), "instance.numa"),
        (asked(application=""), "instance.application"),
        (asked(request_id=""), "requestId"),
        (pb.PlaceRequest(request_id="a", instance=asked().instance, process=[pb.ProcessItem(kind="Secret")]),
         "instance.process.kind"),
    ],
)  # fmt: skip
async def test_bad_input_is_refused_with_its_field(
    stub: Any, site: Site, calls: PlacementCalls, request_: Any, field: str
) -> None:
    assert await refusal(stub.Place(request_)) == (grpc.StatusCode.INVALID_ARGUMENT, "Invalid", field)
    check_books(site, calls._scheduler)  # type: ignore[arg-type]


async def test_another_wish_with_the_same_id_is_refused(stub: Any) -> None:
    await stub.Place(asked())
    code, reason, field = await refusal(stub.Place(asked(cpus=3)))
    assert (code, reason, field) == (grpc.StatusCode.ALREADY_EXISTS, "AlreadyExists", "requestId")


async def test_what_no_node_takes_is_refused_and_explained_node_by_node(stub: Any) -> None:
    assert (await refusal(stub.Place(asked(cpus=12))))[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "Exhausted")
    told = await stub.Explain(asked(cpus=12))
    assert [node.node for node in told.nodes] == ["default/n1", "default/n2"]
    assert "12 more exclusive CPUs make 12, over the 10" in told.nodes[0].reasons[0]


async def test_a_cpu_that_is_not_there_is_named(stub: Any) -> None:
    assert (await refusal(stub.GetNode(pb.GetNodeRequest(node="default/n1", cpu=99))))[2] == "cpu"
    assert (await refusal(stub.GetNode(pb.GetNodeRequest(node="default/no"))))[0] is grpc.StatusCode.NOT_FOUND


def test_a_certificate_of_no_role_is_refused(tmp_path: Any) -> None:
    pki = Pki.create(tmp_path)
    certificate, _ = pki.issue("host-1", ["dpupool:host"])
    with pytest.raises(DpuError) as caught:
        peer_of({"x509_pem_cert": [certificate.read_bytes()]}, Role.SCHEDULER)
    assert caught.value.reason.value == "Forbidden"
    certificate, _ = pki.issue("cloud", ["dpupool:scheduler"])
    assert peer_of({"x509_pem_cert": [certificate.read_bytes()]}, Role.SCHEDULER) == ("cloud", Role.SCHEDULER)


def test_rest_says_the_same_in_json(tmp_path: Any) -> None:
    calls = PlacementCalls()
    with running_api(tmp_path, tls=False, extra=[placement_group(calls)]) as api, api.client() as client:
        root = "/apis/placement.dpupool.io/v1alpha1"
        instance = {"application": "db", "mode": "exclusive", "cpus": 2}
        url = f"{root}/namespaces/default/placements"
        assert client.post(url, json={"requestId": "a", "instance": instance}).status_code == 503

        async def connect() -> None:
            site = Site()
            await site.add_node("n1", reserved="0")
            calls.connect(await site.scheduler())

        api.run(connect)
        placed = client.post(url, json={"requestId": "a", "instance": instance}).json()
        assert (placed["node"], placed["phase"]) == ("default/n1", "Assumed")
        assert client.get(f"{url}/a").json() == placed
        told = client.post(f"{root}/namespaces/default/explanations", json={"instance": instance}).json()
        assert "1 of db run here already" in told["nodes"][0]["reasons"][0]
        lifted = client.post(f"{url}/a/lift", json={"lifted": True}).json()
        assert lifted["lifted"]
        use = client.get(f"{root}/nodes/n1", params={"cpu": "0"}).json()
        assert use["cpus"][0]["use"] == "reserved"
        wrong = client.post(url, json={"requestId": "b", "instance": instance | {"cpus": "many"}})
        assert wrong.status_code == 400
        assert client.delete(f"{url}/a").json() == {"wasThere": True}
        assert client.get(f"{url}/a").status_code == 404
