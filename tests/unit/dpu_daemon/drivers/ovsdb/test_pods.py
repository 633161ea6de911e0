"""Operations for containers' ports, and transactions that they share, on a copy and a client in memory."""

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from dpu_daemon.drivers.ovsdb import edits, edits_pods, view
from dpu_daemon.drivers.ovsdb.batch import MOST, Batch, Edit
from dpu_daemon.drivers.ovsdb.client import Operation, OvsdbClient
from dpu_daemon.drivers.ovsdb.schema import COLUMNS
from dpu_daemon.model.pod_port import PodPlug
from dpu_daemon.model.port import Limit
from proto.errors import DpuError
from proto.ovsdb.replica import Replica
from proto.reasons import Reason

PLUG = PodPlug(
    bridge="br-int",
    netdev="dp1",
    port_id="default.web",
    mac="02:00:00:00:00:05",
    holder="c1/eth0",
    limit=Limit(20_000_000, 200_000),
    wait_for_ovn=True,
)


def _replica(*, limited: bool = True, ours: bool = True, **interface: Any) -> Replica:
    marks = [["dpupool", "owned"], ["dpupool-pod", "c1/eth0"]] if ours else []
    owned = ["map", [["dpupool", "owned"]] if ours else []]
    port: dict[str, Any] = {"name": "dp1", "interfaces": ["uuid", "i"], "external_ids": ["map", marks]}
    if limited:
        port["qos"] = ["uuid", "q"]
    identity = [["iface-id", "default.web"], ["attached-mac", PLUG.mac], ["dpupool-ifindex", "12"]]
    row = {"name": "dp1", "ofport": 3, "ifindex": 12, "external_ids": ["map", [*identity, ["ovn-installed", "true"]]]}
    queue = ["map", [["max-rate", "20000000"], ["burst", "200000"]]]
    replica = Replica(COLUMNS)
    replica.apply(
        {
            "Open_vSwitch": {"o": {"initial": {"external_ids": ["map", [["system-id", "n1"]]]}}},
            "Bridge": {"b": {"initial": {"name": "br-int", "ports": ["uuid", "p"], "fail_mode": "secure"}}},
            "Port": {"p": {"initial": port}},
            "Interface": {"i": {"initial": {**row, **interface}}},
            "QoS": {
                "q": {
                    "initial": {
                        "type": "linux-htb",
                        "queues": ["map", [[0, ["uuid", "u"]]]],
                        "external_ids": owned,
                    }
                }
            },
            "Queue": {"u": {"initial": {"other_config": queue, "external_ids": owned}}},
        }
    )
    return replica


def _row(replica: Replica) -> view.PortRow:
    row = view.port(replica, "dp1")
    assert row is not None
    return row


def test_a_containers_port_is_seen_with_holder_limit_and_ovns_word() -> None:
    row = _row(_replica())
    assert (row.seen.pod, row.seen.installed, row.seen.limit) == ("c1/eth0", True, Limit(20_000_000, 200_000))
    assert set(row.limits) == {("QoS", "q"), ("Queue", "u")}
    seen = view.seen(_replica())
    assert (set(seen.secure), seen.chassis, set(seen.loose_limits)) == ({"br-int"}, {"system-id": "n1"}, set())
    assert view.seen(_replica(limited=False)).loose_limits == {"QoS/q", "Queue/u"}
    assert view.port(_replica(), "dp2") is None


def test_what_somebody_else_set_is_none_of_ours() -> None:
    row = _row(_replica(ours=False))
    assert (row.owned, row.seen.pod, row.seen.limit, row.limits) == (False, "", Limit(), ())
    assert view.seen(_replica(ours=False)).loose_limits == frozenset()


def _kinds(operations: list[Operation]) -> list[tuple[str, str]]:
    return [(each["op"], each["table"]) for each in operations]


def test_a_new_port_comes_with_its_limit_in_one_transaction() -> None:
    operations = edits_pods.insert_pod("b", PLUG, 12, "7")
    assert _kinds(operations) == [
        ("insert", "Queue"),
        ("insert", "QoS"),
        ("insert", "Interface"),
        ("insert", "Port"),
        ("mutate", "Bridge"),
    ]
    queue, qos, interface, port, _ = operations
    assert queue["row"]["other_config"] == ["map", [["max-rate", "20000000"], ["burst", "200000"]]]
    assert (qos["row"]["type"], port["row"]["qos"]) == ("linux-htb", ["named-uuid", "q7"])
    assert interface["row"]["external_ids"] == [
        "map",
        [["iface-id", "default.web"], ["attached-mac", PLUG.mac], ["dpupool-ifindex", "12"]],
    ]


def test_two_ports_in_one_transaction_name_their_rows_apart() -> None:
    names = [each.get("uuid-name") for mark in "01" for each in edits_pods.insert_pod("b", PLUG, 12, mark)]
    given = [name for name in names if name]
    assert len(given) == len(set(given)) == 8


def test_a_new_identity_forgets_what_ovn_said_of_the_old_one() -> None:
    row = _row(_replica(external_ids=["map", [["iface-id", "older"], ["ovn-installed", "true"]]]))
    (mutate, *_) = edits_pods.update_pod(row, PLUG, 12, "0")
    assert "ovn-installed" in mutate["mutations"][0][2][1]
    (mutate, *_) = edits_pods.update_pod(_row(_replica()), PLUG, 12, "0")
    assert "ovn-installed" not in mutate["mutations"][0][2][1]


def test_a_new_limit_takes_the_place_of_the_old_one_and_none_frees_the_port() -> None:
    row = _row(_replica())
    operations = edits_pods.update_pod(row, replace(PLUG, limit=Limit(5)), 12, "0")
    assert _kinds(operations)[:4] == [("insert", "Queue"), ("insert", "QoS"), ("delete", "QoS"), ("delete", "Queue")]
    operations = edits_pods.update_pod(row, replace(PLUG, limit=Limit()), 12, "0")
    assert _kinds(operations)[:2] == [("delete", "QoS"), ("delete", "Queue")]
    assert operations[3]["row"]["qos"] == ["set", []]
    assert "qos" not in edits_pods.update_pod(row, PLUG, 12, "0")[1]["row"]


def test_a_limit_goes_with_its_port() -> None:
    assert _kinds(edits.remove_port(_row(_replica()))) == [
        ("update", "Port"),
        ("mutate", "Bridge"),
        ("delete", "QoS"),
        ("delete", "Queue"),
    ]
    assert _kinds(edits.remove_port(_row(_replica(limited=False)))) == [("mutate", "Bridge")]


def test_a_machine_that_takes_a_containers_netdev_takes_no_limit_and_no_mark() -> None:
    row = _row(_replica())
    want = edits.PortWanted(name="dp1", iface_id="default.web", mac=PLUG.mac)
    assert not want.is_met_by(row)
    operations = edits.update_port(row, want)
    assert operations[1]["row"]["qos"] == ["set", []]
    assert operations[2]["mutations"] == [["external_ids", "delete", ["set", ["dpupool-pod"]]]]
    assert _kinds(operations)[3:] == [("delete", "QoS"), ("delete", "Queue")]


class FakeClient:
    """Commits into a list; a transaction with a refused name fails whole."""

    def __init__(self) -> None:
        self.replica = Replica(COLUMNS)
        self.sent: list[list[str]] = []
        self.refused: set[str] = set()
        self.away = False

    async def transact(self, operations: list[Operation]) -> list[Any]:
        await asyncio.sleep(0)
        names = [each["name"] for each in operations]
        self.sent.append(names)
        if self.away:
            raise DpuError(Reason.UNAVAILABLE, "away")
        if self.refused & set(names):
            raise DpuError(Reason.CONFLICT, "refused")
        return []


def _edit(name: str) -> Edit:
    return lambda _replica, _mark: [{"name": name}]


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def batch(client: FakeClient) -> Batch:
    return Batch(cast("OvsdbClient", client))


async def test_what_comes_while_one_is_under_way_goes_together(client: FakeClient, batch: Batch) -> None:
    first = asyncio.create_task(batch.do(_edit("a")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.gather(first, *(batch.do(_edit(str(number))) for number in range(MOST + 5)))
    assert [len(names) for names in client.sent] == [1, MOST, 5]


async def test_of_a_batch_only_the_refused_one_fails(client: FakeClient, batch: Batch) -> None:
    client.refused.add("bad")
    ends = await asyncio.gather(*(batch.do(_edit(name)) for name in ("a", "bad", "b")), return_exceptions=True)
    assert [isinstance(end, DpuError) for end in ends] == [False, True, False]
    assert client.sent == [["a", "bad", "b"], ["a"], ["bad"], ["b"]]


async def test_an_edit_that_cannot_be_made_fails_alone_and_an_empty_one_sends_nothing(
    client: FakeClient, batch: Batch
) -> None:
    def unmakeable(_replica: Replica, _mark: str) -> list[Operation]:
        raise DpuError(Reason.NOT_FOUND, "no bridge")

    ends = await asyncio.gather(batch.do(unmakeable), batch.do(_edit("a")), return_exceptions=True)
    assert [getattr(end, "reason", None) for end in ends] == [Reason.NOT_FOUND, None]
    await batch.do(lambda _replica, _mark: [])
    assert client.sent == [["a"]]


async def test_without_a_database_all_of_them_fail_at_once(client: FakeClient, batch: Batch) -> None:
    client.away = True
    ends = await asyncio.gather(*(batch.do(_edit(name)) for name in "abc"), return_exceptions=True)
    assert [getattr(end, "reason", None) for end in ends] == [Reason.UNAVAILABLE] * 3
    assert len(client.sent) == 1
    client.away = False
    await batch.do(_edit("d"))


async def test_who_left_early_is_left_out(client: FakeClient, batch: Batch) -> None:
    first = asyncio.create_task(batch.do(_edit("a")))
    await asyncio.sleep(0)
    gone, stays = (asyncio.create_task(batch.do(_edit(name))) for name in ("gone", "stays"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(first, stays)
    assert not any("gone" in names for names in client.sent)
