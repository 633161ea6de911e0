from dpu_daemon.drivers.ovsdb import edits, view
from dpu_daemon.drivers.ovsdb.edits import PortWanted
from dpu_daemon.drivers.ovsdb.schema import COLUMNS
from dpu_daemon.drivers.ovsdb.view import GONE, MADE_ANEW
from proto.ovsdb.replica import Replica

WANT = PortWanted(name="pf0vf0", iface_id="port-1", mac="02:00:00:00:00:05", vlan=7, ifindex=12)


def _replica(interface: dict[str, object]) -> Replica:
    replica = Replica(COLUMNS)
    replica.apply(
        {
            "Bridge": {"b": {"initial": {"name": "br-int", "ports": ["uuid", "p"]}}},
            "Port": {
                "p": {
                    "initial": {
                        "name": "pf0vf0",
                        "interfaces": ["uuid", "i"],
                        "tag": 7,
                        "external_ids": ["map", [["dpupool", "owned"]]],
                    }
                }
            },
            "Interface": {"i": {"initial": {"name": "pf0vf0", **interface}}},
        }
    )
    return replica


def _marked(ifindex: int) -> list[object]:
    return ["map", [["dpupool-ifindex", str(ifindex)], ["iface-id", "port-1"], ["attached-mac", WANT.mac]]]


def test_a_port_of_ours_is_known_by_its_mark() -> None:
    row = view.ports(_replica({"external_ids": _marked(12), "ofport": 3, "ifindex": 12}))["pf0vf0"]
    assert (row.owned, row.stale, row.seen.ofport, row.seen.error) == (True, False, 3, "")
    assert WANT.is_met_by(row)


def test_a_netdev_that_became_another_one_is_a_complaint() -> None:
    complaints = {}
    for ifindex in (None, 0, 12, 13):
        told = {} if ifindex is None else {"ifindex": ifindex}
        row = view.ports(_replica({"external_ids": _marked(12), "ofport": 3, **told}))["pf0vf0"]
        complaints[ifindex] = row.seen.error
        assert row.stale is bool(row.seen.error)
    assert complaints == {None: "", 0: GONE, 12: "", 13: MADE_ANEW}


def test_the_switch_own_complaint_comes_first() -> None:
    row = view.ports(_replica({"external_ids": _marked(12), "ofport": -1, "error": "no", "ifindex": 0}))["pf0vf0"]
    assert (row.seen.error, row.seen.ofport) == ("no", -1)


def test_a_port_whose_rows_are_not_there_yet_is_no_port() -> None:
    replica = Replica(COLUMNS)
    replica.apply({"Bridge": {"b": {"initial": {"name": "br-int", "ports": ["uuid", "p"]}}}})
    assert view.ports(replica) == {}
    assert view.seen(replica).bridges == {"br-int"}


def test_a_port_is_made_and_referenced_in_one_transaction() -> None:
    operations = edits.insert_port("b", WANT)
    assert [(each["op"], each["table"]) for each in operations] == [
        ("insert", "Interface"),
        ("insert", "Port"),
        ("mutate", "Bridge"),
    ]
    assert operations[1]["row"]["tag"] == 7
    assert operations[0]["row"]["external_ids"] == [
        "map",
        [["iface-id", "port-1"], ["attached-mac", WANT.mac], ["dpupool-ifindex", "12"]],
    ]


def test_an_untagged_port_clears_an_older_tag() -> None:
    row = view.ports(_replica({"external_ids": _marked(12), "ofport": 3}))["pf0vf0"]
    update = edits.update_port(row, PortWanted(name="pf0vf0"))[1]
    assert update["row"] == {"tag": ["set", []]}


def test_a_bridge_comes_with_its_local_port() -> None:
    operations = edits.insert_bridge("br-int", "netdev")
    rows = {each["table"]: each["row"] for each in operations if each["op"] == "insert"}
    assert rows["Interface"]["type"] == "internal"
    assert rows["Port"]["name"] == rows["Bridge"]["name"] == "br-int"
    assert (rows["Bridge"]["datapath_type"], rows["Bridge"]["fail_mode"]) == ("netdev", "standalone")
