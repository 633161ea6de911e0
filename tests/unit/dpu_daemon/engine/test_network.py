"""Names of representors: by a pattern, or as the card tells them."""

from collections.abc import Mapping
from pathlib import Path

from dpu_daemon.drivers.devlink import FoundRepresentors
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.model.port import LinkSeen, PortSpec
from tests.fakes.daemon import FAST, fake_drivers
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.asking import soon


class Card:
    """A Naming whose card gets its functions later."""

    def __init__(self) -> None:
        self.named: dict[int, str] = {}

    def netdevs(self) -> Mapping[int, str]:
        return self.named


def settings(card: Card | None = None) -> NetworkSettings:
    return NetworkSettings(bridge="br-int", vf_pattern="pf0vf{n}", vf_count=2, naming=card)


def test_a_pattern_names_what_no_card_names() -> None:
    card = Card()
    assert settings().representors() == {"pf0vf0", "pf0vf1"}
    assert settings(card).representors() == {"pf0vf0", "pf0vf1"}
    card.named = {0: "enp3s0f0npf0vf0", 7: "enp3s0f0npf0vf7"}
    assert settings(card).representors() == {"enp3s0f0npf0vf0", "pf0vf1"}
    assert settings(card).representor(0) == "enp3s0f0npf0vf0"


async def test_a_port_is_plugged_by_the_name_that_the_card_tells(tmp_path: Path) -> None:
    card, world = Card(), World()
    card.named = {0: "enp3s0f0npf0vf0"}
    for name in settings(card).representors():
        world.state.links[name] = LinkSeen(name=name, mac="02:00:00:00:00:01", mtu=1500, up=False, carrier=True)
    engine = await DpuEngine.open(Journal(tmp_path / "journal.db"), fake_drivers(world), settings(card), FAST)
    await engine.core.start()
    spec = PortSpec(mac="02:00:00:00:00:05", addresses=("10.1.0.5/24",), network_id="n", bridge="br-int")
    await engine.ports.plug("p", 1, spec, soon())
    await engine.core.stop(2.0)
    assert world.state.switch_ports["enp3s0f0npf0vf0"].iface_id == "p"


def test_a_system_without_such_a_card_goes_by_the_pattern() -> None:
    bare = NetworkSettings(bridge="br-int", vf_count=1, naming=FoundRepresentors())
    assert bare.representor(0) == "pf0vf0"
