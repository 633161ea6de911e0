"""The writer gives others of its process their turn, however much there is to do."""

import pytest

from coordinator.controllers.net import ovn as ovn_module
from tests.unit.coordinator.controllers.net.test_ovn_writer import Rig, Turns, rigged


async def test_others_have_their_turn_when_owners_were_compiled_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ovn_module, "COMPILED_FOR_S", 0.0)
    rig: Rig = rigged(monkeypatch)
    turns = Turns(monkeypatch, rig.writer.store, "replace")
    rig.want(*(f"n{number}" for number in range(150)))
    async with turns.counting(), rig.running():
        await rig.settled(lambda: len(rig.northbound.names()) == 150)
    assert turns.all == 150
    assert turns.most == 1
    assert rig.committed() == 1
