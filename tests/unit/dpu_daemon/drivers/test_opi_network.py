"""OPI's network as its driver sees it: what cannot be asked is told once."""

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dpu_daemon.drivers.opi_network import kernel, namespaces, rows
from dpu_daemon.drivers.opi_network.driver import OvsNetwork
from dpu_daemon.drivers.opi_network.kernel import Domains
from dpu_daemon.drivers.opi_network.rows import IFINDEX_KEY, OWNER_KEY
from dpu_daemon.drivers.opi_network.switch import OpiBridge
from dpu_daemon.model.opi_network_seen import Plug, PlugSeen
from proto.errors import DpuError
from proto.ovsdb.client import Operation
from proto.ovsdb.replica import Row, RowChange
from proto.reasons import Reason

KNOWN = {"02:00:00:00:00:01": "pf0vf1"}


@pytest.mark.parametrize("written", range(len(kernel.SETTINGS)))
def test_a_domain_whose_making_was_cut_short_does_not_count_as_made(
    written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "SYSCTL", tmp_path)
    monkeypatch.setattr(kernel, "_ends", dict)
    monkeypatch.setattr(namespaces, "named", lambda prefix: [f"{prefix}blue"])
    monkeypatch.setattr(namespaces, "inside", lambda _name: nullcontext())
    for number, key in enumerate(kernel.SETTINGS):
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_text("1\n" if number < written else "0\n")
    domains = Domains(prefix="t-", datapath="netdev")
    assert not domains.look()[1]["t-blue"].routes
    for key, value in kernel.SETTINGS.items():
        (tmp_path / key).write_text(f"{value}\n")
    assert domains.look()[1]["t-blue"].routes


class Database:
    """The switch's database with one port of ours, whose device was not there when the switch started."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        ours = {OWNER_KEY: "svis/s1"}
        marks = {IFINDEX_KEY: "7"}
        self.tables: dict[str, dict[str, dict[str, Any]]] = {
            "Open_vSwitch": {},
            "Bridge": {"u-bridge": {"name": "br-opi", "ports": frozenset({"u-port"})}},
            "Port": {
                "u-port": {
                    "name": "n1sw", "interfaces": frozenset({"u-if"}), "tag": 10, "trunks": frozenset(),
                    "vlan_mode": "access", "protected": False, "external_ids": ours,
                }
            },
            "Interface": {
                "u-if": {
                    "name": "n1sw", "type": "", "options": {}, "ofport": -1, "error": "No such device",
                    "ifindex": None, "external_ids": marks,
                }
            },
        }  # fmt: skip

    @property
    def replica(self) -> "Database":
        return self

    def rows(self, table: str) -> dict[str, dict[str, Any]]:
        return self.tables[table]

    async def transact(self, operations: list[Operation]) -> list[dict[str, Any]]:
        self.asked.append([f"{each['op']} {each['table']}" for each in operations[:-2]])
        if len(self.asked) == 1:
            # What the switch does about either: it opens the device that is there now.
            new = operations[0]["op"] == "mutate"
            marks = {} if new else {IFINDEX_KEY: "7"}
            self.tables["Interface"]["u-if"] |= {"ofport": 3, "error": None, "ifindex": 9, "external_ids": marks}
        return [{}]

    async def wait_until(self, _true: object, *, timeout_s: float) -> bool:
        return timeout_s > 0


@pytest.mark.parametrize(("ifindex", "first"), [(9, "mutate Bridge"), (7, "update Port")])
async def test_a_port_whose_device_was_made_anew_while_the_switch_had_none_is_plugged_anew_at_once(
    ifindex: int, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, database = OpiBridge(socket="/nowhere", datapath="netdev"), Database()
    monkeypatch.setattr(bridge, "_client", database)
    with suppress(DpuError):
        await bridge.plug("br-opi", Plug(name="n1sw", owner="svis/s1", tag=10), ifindex)
    assert database.asked[0][0] == first


async def test_a_plug_reads_its_own_port_alone_and_others_changes_are_still_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bridge, database = OpiBridge(socket="/nowhere", datapath="netdev"), Database()
    monkeypatch.setattr(bridge, "_client", database)
    tables = database.tables
    for number in range(5):
        interface = {**tables["Interface"]["u-if"], "name": f"r{number}", "ofport": 9, "error": None}
        tables["Interface"][f"i{number}"] = interface
        tables["Port"][f"p{number}"] = {
            **tables["Port"]["u-port"], "name": f"r{number}", "interfaces": frozenset({f"i{number}"}),
        }  # fmt: skip
    tables["Bridge"]["u-bridge"]["ports"] = frozenset(tables["Port"])
    told: list[str] = []
    bridge._lost = told.append
    bridge._told(database, [RowChange("Port", "p0", None, tables["Port"]["p0"])])  # type: ignore[arg-type]
    read: list[str] = []
    seen = rows._seen

    def noted(name: str, port: Row, interface: Row) -> tuple[PlugSeen, bool]:
        read.append(port["name"])
        return seen(name, port, interface)

    monkeypatch.setattr(rows, "_seen", noted)
    with suppress(DpuError):
        await bridge.plug("br-opi", Plug(name="n1sw", owner="svis/s1", tag=10), 9)
    assert set(read) == {"n1sw"}
    assert told == []
    before, after = tables["Interface"]["i3"], {**tables["Interface"]["i3"], "error": "No such device", "ofport": -1}
    tables["Interface"]["i3"] = after
    bridge._told(database, [RowChange("Interface", "i3", before, after)])  # type: ignore[arg-type]
    assert told == ["port r3 of OPI changed: No such device"]


async def test_a_bus_that_does_not_answer_is_told_once_and_its_return_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpiBridge, "look", lambda _: (frozenset(), {}))
    monkeypatch.setattr(Domains, "look", lambda _: ({}, {}))
    answers: list[Mapping[str, str] | str] = ["no bus", "no bus", "another fault", KNOWN, KNOWN, "no bus"]

    async def functions() -> Mapping[str, str]:
        answer = answers.pop(0)
        if isinstance(answer, str):
            raise DpuError(Reason.UNAVAILABLE, answer)
        return answer

    driver = OvsNetwork(socket="/nowhere", datapath="netdev", domains="t-", functions=functions)
    with capture_logs() as logs:
        seen = [(await driver.look()).functions for _ in range(len(answers))]
    await driver.stop()
    assert seen == [{}, {}, {}, KNOWN, KNOWN, {}]
    assert [line["event"] for line in logs] == [
        "functions are known by name alone: no bus",
        "functions are known by name alone: another fault",
        "functions are known again",
        "functions are known by name alone: no bus",
    ]
