"""The writer against a model of the database: batches, refusals, lost answers, owners that cannot be compiled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import pytest

from coordinator.controllers.net import ovn as ovn_module
from coordinator.controllers.net.ovn import OvnController
from coordinator.controllers.net.ovn_metrics import OvnMetrics
from coordinator.core.net import edits
from coordinator.core.net import store as store_module
from coordinator.core.net.diff import STEP
from coordinator.core.net.edits import Operation
from coordinator.core.net.rows import Row, Table, ref
from coordinator.core.net.schema import EXTERNAL_IDS, KEY, SHAPES
from coordinator.core.net.seen import Seen
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.northbound import ModelDatabase, RefusedError, changes


class ModelNorthbound:
    """In the place of the connection; faults are raised by the next transactions, one each."""

    def __init__(self, _remotes: str, listener: Any, **_: Any) -> None:
        self.seen = Seen()
        self.model = ModelDatabase()
        self.listener = listener
        self.connected = False
        self.has_templates = True
        self.transactions: list[Sequence[Operation]] = []
        self.faults: list[DpuError] = []
        self.poisoned = ""
        self.restarts = 0

    @property
    def problem(self) -> DpuError | None:
        return None if self.connected else DpuError(Reason.UNAVAILABLE, "nobody listens")

    async def start(self) -> None:
        self.connected = True
        self.seen.clear()
        self.seen.take(changes({table: {} for table in SHAPES}, self.model.rows))
        self.listener.copied()

    async def restart(self) -> None:
        self.restarts += 1
        await self.start()

    async def stop(self) -> None:
        self.connected = False

    async def transact(self, operations: Sequence[Operation]) -> None:
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)
        self.transactions.append(operations)
        if self.poisoned and any(self.poisoned in str(one) for one in operations):
            raise DpuError(Reason.CONFLICT, "constraint violation")
        try:
            self.tell(operations)
        except RefusedError as error:
            raise DpuError(Reason.CONFLICT, str(error)) from error

    def tell(self, operations: Sequence[Operation]) -> None:
        self.listener.changed(self.seen.take(self.model.transact(operations)))

    def names(self) -> set[str]:
        return {str(row["name"]) for row in self.model.rows[Table.SWITCH.value].values()}


class Rig:
    """A writer whose owners want a switch of their name each, or what `wish` says."""

    def __init__(self) -> None:
        self.wish: dict[str, Callable[[], Iterable[Row]]] = {}
        self.metrics = OvnMetrics(None)
        self.heard: list[str] = []
        self.writer = OvnController("unix:/x", None, {"s": self._rows}, self.metrics, self.heard.append)
        self.northbound: ModelNorthbound = self.writer._northbound  # type: ignore[assignment]

    def want(self, *names: str) -> None:
        for name in names:
            self.wish[name] = lambda name=name: [Row(Table.SWITCH, name, {"name": name})]  # type: ignore[misc]
        self.dirty(*names)

    def dirty(self, *names: str) -> None:
        self.writer.dirty([("s", name) for name in names])

    def _rows(self, name: str) -> Iterable[Row]:
        return self.wish[name]() if name in self.wish else []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        serving = asyncio.create_task(self.writer.run())
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.wait([serving])

    async def settled(self, there: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not there():  # noqa: ASYNC110  (a model has no events)
                await asyncio.sleep(0.005)

    def committed(self) -> float:
        return float(self.metrics.transactions.labels("committed")._value.get())


def _bug() -> Iterable[Row]:
    raise KeyError("a bug")


def rigged(monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A writer on a model, impatient."""
    monkeypatch.setattr(ovn_module, "Northbound", ModelNorthbound)
    monkeypatch.setattr(ovn_module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(ovn_module, "LONGEST_PAUSE_S", 0.05)
    return Rig()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return rigged(monkeypatch)


async def test_what_comes_together_goes_into_one_transaction(rig: Rig) -> None:
    rig.want("a", "b")
    async with rig.running():
        await rig.settled(lambda: rig.northbound.names() == {"a", "b"})
        rig.want(*(f"n{number}" for number in range(300)))
        await rig.settled(lambda: len(rig.northbound.names()) == 302)
    assert rig.committed() == 2


async def test_what_nobody_wants_goes_at_the_first_comparison_and_what_is_not_ours_stays(rig: Rig) -> None:
    rig.northbound.model.put(Table.SWITCH.value, name="old", **{EXTERNAL_IDS: {KEY: "old"}})
    rig.northbound.model.put(Table.SWITCH.value, name="theirs")
    rig.want("a")
    async with rig.running():
        await rig.settled(lambda: rig.northbound.names() == {"a", "theirs"})


async def test_while_an_owner_cannot_be_compiled_nothing_is_deleted(rig: Rig) -> None:
    rig.northbound.model.put(Table.SWITCH.value, name="maybe", **{EXTERNAL_IDS: {KEY: "maybe"}})
    rig.northbound.model.put(Table.SWITCH.value, name="stale", **{EXTERNAL_IDS: {KEY: "stale"}})
    rig.want("a")
    rig.wish["maybe"] = _bug
    rig.dirty("maybe")
    async with rig.running():
        await rig.settled(lambda: "a" in rig.northbound.names())
        assert rig.northbound.names() == {"a", "maybe", "stale"}
        rig.want("maybe")
        await rig.settled(lambda: rig.northbound.names() == {"a", "maybe"})
        rig.wish["maybe"] = _bug
        rig.dirty("maybe")
        rig.want("b")
        await rig.settled(lambda: rig.northbound.names() == {"a", "b", "maybe"})


async def test_an_owner_that_wants_what_another_wants_otherwise_has_its_turn_when_that_is_gone(rig: Rig) -> None:
    for name, of in (("a", "one"), ("b", "other")):
        rig.wish[name] = lambda of=of: [Row(Table.SWITCH, "s", {"name": of})]  # type: ignore[misc]
    rig.want("gone")
    rig.dirty("a", "b")
    async with rig.running():
        await rig.settled(lambda: rig.northbound.names() == {"one", "gone"})
        del rig.wish["a"], rig.wish["gone"]
        rig.dirty("a", "gone")
        await rig.settled(lambda: rig.northbound.names() == {"other"})


async def test_an_owner_that_may_want_nothing_is_no_bug(rig: Rig) -> None:
    rig.northbound.model.put(Table.SWITCH.value, name="wrong", **{EXTERNAL_IDS: {KEY: "wrong"}})

    def refuse() -> Iterable[Row]:
        raise DpuError(Reason.INVALID, "its spec is wrong")

    rig.wish["wrong"] = refuse
    rig.dirty("wrong")
    async with rig.running():
        await rig.settled(lambda: rig.northbound.names() == set())


@pytest.mark.parametrize("reason", [Reason.DEADLINE, Reason.UNAVAILABLE])
async def test_an_answer_that_does_not_come_leads_to_a_comparison_of_everything(rig: Rig, reason: Reason) -> None:
    async with rig.running():
        await rig.settled(lambda: rig.writer.rows_gone("x"))
        rig.northbound.faults = [DpuError(reason, "no answer")]
        rig.want("a")
        await rig.settled(lambda: not rig.northbound.faults)
        if reason is Reason.UNAVAILABLE:
            await rig.northbound.start()
        await rig.settled(lambda: rig.northbound.names() == {"a"})
    assert rig.northbound.restarts == (1 if reason is Reason.DEADLINE else 0)


async def test_a_row_that_somebody_takes_or_bends_comes_back(rig: Rig) -> None:
    rig.want("a")
    async with rig.running():
        await rig.settled(lambda: rig.northbound.names() == {"a"})
        (identity,) = rig.northbound.model.rows[Table.SWITCH.value]
        where = [["_uuid", "==", ["uuid", identity]]]
        rig.northbound.tell([{"op": "update", "table": "Logical_Switch", "where": where, "row": {"name": "bent"}}])
        await rig.settled(lambda: rig.northbound.names() == {"a"})
        rig.northbound.tell([{"op": "delete", "table": "Logical_Switch", "where": where}])
        await rig.settled(lambda: rig.northbound.names() == {"a"})
    assert rig.metrics.restored._value.get() == 2


async def test_an_address_may_go_to_another_only_when_its_port_is_gone_for_sure(rig: Rig) -> None:
    port = Row(Table.SWITCH_PORT, "p", {"name": "p"})
    rig.wish["p"] = lambda: [port, Row(Table.SWITCH, "s", {"name": "s", "ports": frozenset({port.ref})})]
    rig.dirty("p")
    assert not rig.writer.rows_gone("p")
    assert not rig.writer.rows_gone("another")  # nothing is known yet
    async with rig.running():
        await rig.settled(lambda: rig.northbound.seen.has(ref(Table.SWITCH_PORT, "p")))
        assert not rig.writer.rows_gone("p")
        rig.northbound.faults = [DpuError(Reason.CONFLICT, "no"), DpuError(Reason.CONFLICT, "no")]
        del rig.wish["p"]
        rig.dirty("p")
        await rig.settled(lambda: rig.writer.rows_gone("p"))
        assert not rig.northbound.seen.has(ref(Table.SWITCH_PORT, "p"))
        await rig.settled(lambda: "p" in rig.heard)
    assert not rig.writer.rows_gone("p")  # not connected: who knows


async def test_everything_is_compared_again_after_a_while_also_when_there_is_always_something_to_do(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovn_module, "FULL_COMPARISON_S", 0.05)
    resyncs = rig.metrics.resyncs._value
    async with rig.running():
        for number in range(400):
            rig.want(f"n{number}")
            await asyncio.sleep(0.002)
            if resyncs.get() >= 3:
                break
        assert resyncs.get() >= 3


async def test_without_a_database_the_writer_rests(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def absent(_self: ModelNorthbound) -> None:
        return

    monkeypatch.setattr(ModelNorthbound, "start", absent)
    batches = 0
    batch = rig.writer._batch

    async def counted(started: Any) -> None:
        nonlocal batches
        batches += 1
        await batch(started)

    monkeypatch.setattr(rig.writer, "_batch", counted)
    rig.want("a")
    async with rig.running():
        await rig.settled(lambda: batches > 0)
        await asyncio.sleep(0.1)
    assert batches == 1


async def test_a_database_that_stays_away_is_told_of_and_one_that_was_away_for_a_moment_is_not(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovn_module, "AWAY_S", 0.0)
    rig.want("a")
    async with rig.running():
        await rig.settled(lambda: rig.northbound.names() == {"a"})
        assert rig.writer.unreached() is None
        rig.northbound.connected = False
        rig.writer.lost("it went away")
        monkeypatch.setattr(ovn_module, "AWAY_S", 3600.0)
        assert rig.writer.unreached() is None
        monkeypatch.setattr(ovn_module, "AWAY_S", 0.0)
        assert "nobody listens" in str(rig.writer.unreached())
        rig.northbound.connected = True
        rig.writer.lost("it is reachable again")  # with the copy that there was
        assert rig.writer.unreached() is None
        rig.want("b")
        await rig.settled(lambda: rig.northbound.names() == {"a", "b"})


async def test_a_database_that_stops_to_answer_and_cannot_be_reached_anew_is_told_of(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovn_module, "AWAY_S", 0.0)
    told_meanwhile: list[DpuError | None] = []

    async def restart(northbound: ModelNorthbound) -> None:
        northbound.connected = False
        told_meanwhile.append(rig.writer.unreached())
        northbound.restarts += 1

    monkeypatch.setattr(ModelNorthbound, "restart", restart)
    async with rig.running():
        await rig.settled(lambda: rig.writer.rows_gone("x"))
        rig.northbound.faults = [DpuError(Reason.DEADLINE, "no answer")]
        rig.want("a")
        await rig.settled(lambda: rig.northbound.restarts == 1)
        assert told_meanwhile != [None]
        assert "nobody listens" in str(rig.writer.unreached())
        await rig.northbound.start()
        assert rig.writer.unreached() is None
        await rig.settled(lambda: rig.northbound.names() == {"a"})


class Turns:
    """Counts calls of a function between two turns of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.now, self.most, self.all = 0, 0, 0
        counted = getattr(module, name)

        def count(*args: Any) -> Any:
            self.now, self.all = self.now + 1, self.all + 1
            self.most = max(self.most, self.now)
            return counted(*args)

        monkeypatch.setattr(module, name, count)

    @contextlib.asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        async def turn() -> None:
            while True:
                self.now = 0
                await asyncio.sleep(0)

        task = asyncio.create_task(turn())
        try:
            yield
        finally:
            task.cancel()


async def test_others_have_their_turn_while_a_large_transaction_is_made(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(monkeypatch, edits, "insert")
    rig.want(*(f"n{number}" for number in range(1500)))
    async with turns.counting(), rig.running():
        await rig.settled(lambda: len(rig.northbound.names()) == 1500)
    assert turns.all == 1500
    assert turns.most <= STEP
    assert rig.committed() == 1


async def test_others_have_their_turn_while_a_switch_with_many_ports_is_compared(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovn_module, "COMPARED_AT_ONCE", 500)
    ports = [Row(Table.SWITCH_PORT, f"p{number}", {"name": f"p{number}"}) for number in range(2000)]
    model = rig.northbound.model
    there = frozenset(model.put(row.table.value, name=row.key, **{EXTERNAL_IDS: {KEY: row.key}}) for row in ports)
    model.put(Table.SWITCH.value, name="s", ports=there, **{EXTERNAL_IDS: {KEY: "s"}})
    for row in ports:  # each an owner of its own, as pods are
        switch = Row(Table.SWITCH, "s", {"name": "s", "ports": frozenset({row.ref})})
        rig.wish[row.key] = lambda both=(row, switch): both  # type: ignore[misc]
    rig.dirty(*(row.key for row in ports))
    joined = Turns(monkeypatch, store_module, "_columns")
    async with joined.counting(), rig.running():
        await rig.settled(lambda: rig.writer.rows_gone("x"))
    assert joined.all > 2000
    assert joined.most <= STEP
    assert not rig.northbound.transactions


async def test_what_was_found_in_one_copy_is_not_written_into_another(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"n{number}" for number in range(600)]
    insert = edits.insert
    starts: list[asyncio.Task[None]] = []

    def begin_anew(*args: Any) -> Operation:
        if not starts:  # somebody else has written the same, and there is a new connection before our next turn
            for name in names:
                rig.northbound.model.put(Table.SWITCH.value, name=name, **{EXTERNAL_IDS: {KEY: name}})
            starts.append(asyncio.get_running_loop().create_task(rig.northbound.start()))
        return insert(*args)

    monkeypatch.setattr(edits, "insert", begin_anew)
    rig.want(*names)
    async with rig.running():
        await rig.settled(lambda: rig.writer.rows_gone("x"))
    assert starts
    assert not rig.northbound.transactions
