"""Rows that the database refuses: which, for how long, and who goes on without them."""

from collections.abc import Sequence

import pytest

from coordinator.core.net.edits import Operation
from coordinator.core.net.rows import Row, Table, ref
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.controllers.net.test_ovn_writer import Rig, rigged


@pytest.fixture(name="rig")
def _rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return rigged(monkeypatch)


async def test_one_row_that_the_database_refuses_stops_no_other_and_is_tried_again(rig: Rig) -> None:
    rig.northbound.poisoned = "n13"
    rig.want(*(f"n{number}" for number in range(10, 26)))
    async with rig.running():
        await rig.settled(lambda: len(rig.northbound.names()) == 15)
        assert "constraint violation" in rig.writer.refusal("n13")
        rig.northbound.poisoned = ""
        await rig.settled(lambda: "n13" in rig.northbound.names())
        await rig.settled(lambda: rig.writer.refusal("n13") == "")


@pytest.mark.parametrize("fresh", [True, False], ids=["with its switch", "on a switch that is there"])
async def test_a_port_that_the_database_refuses_stops_no_other_port_of_its_switch(rig: Rig, fresh: bool) -> None:
    def wanted(name: str) -> list[Row]:
        port = Row(Table.SWITCH_PORT, name, {"name": name})
        return [port, Row(Table.SWITCH, "s", {"name": "s", "ports": frozenset({port.ref})})]

    def there() -> set[str]:
        held = {one for row in rig.northbound.model.rows["Logical_Switch"].values() for one in row["ports"]}
        return {row["name"] for one, row in rig.northbound.model.rows["Logical_Switch_Port"].items() if one in held}

    names = [f"p{number}" for number in range(10, 26)]
    rig.northbound.poisoned = "p13"
    for name in names:
        rig.wish[name] = lambda name=name: wanted(name)  # type: ignore[misc]
    async with rig.running():
        if not fresh:
            rig.dirty("p10")
            await rig.settled(lambda: there() == {"p10"})
        rig.dirty(*names)
        await rig.settled(lambda: there() == {*names} - {"p13"})
        assert "constraint violation" in rig.writer.refusal("p13")
        await rig.settled(lambda: set(rig.writer.refused) == {ref(Table.SWITCH_PORT, "p13")})
        rig.northbound.poisoned = ""
        await rig.settled(lambda: there() == {*names})


async def test_a_database_that_may_only_be_read_is_asked_a_few_times_and_every_row_says_why(rig: Rig) -> None:
    names = [f"n{number}" for number in range(200)]
    rig.northbound.faults = [DpuError(Reason.FORBIDDEN, "read only mode") for _ in range(3)]
    rig.want(*names)
    async with rig.running():
        await rig.settled(lambda: len(rig.writer.refused) == len(names))
        assert "read only mode" in rig.writer.refusal("n7")
        assert not rig.northbound.transactions
        await rig.settled(lambda: rig.northbound.names() == {*names})
        await rig.settled(lambda: not rig.writer.refused)
    assert len(rig.northbound.transactions) == 1


async def test_a_row_that_is_tried_again_is_refused_meanwhile(rig: Rig) -> None:
    rig.northbound.poisoned = "n13"
    rig.want("n13")
    async with rig.running():
        await rig.settled(lambda: rig.writer.refusal("n13") != "")
        tried, words = len(rig.northbound.transactions), set[str]()
        transact = rig.northbound.transact

        async def noted(operations: Sequence[Operation]) -> None:
            words.add(rig.writer.refusal("n13"))
            await transact(operations)

        rig.northbound.transact = noted  # type: ignore[method-assign]
        await rig.settled(lambda: len(rig.northbound.transactions) > tried)
        assert words == {rig.writer.refusal("n13")}
