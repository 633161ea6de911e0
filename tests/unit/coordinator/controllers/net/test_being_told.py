"""A port ends only when nothing of it can be on its way to its daemon or from it; in virtual time."""

import asyncio

from coordinator.core.objects.kinds import Kind
from tests.fakes.pod_nodes import SPACE, PodNodes
from tests.unit.coordinator.controllers.net.test_nodes import assigned, play, ready


def test_a_port_that_its_daemon_is_being_told_of_is_not_off_its_node() -> None:
    async def story(stage: PodNodes) -> None:
        await ready(stage, "Serving")
        daemon = stage.daemons["node-1"]
        daemon.slow_s = 20.0
        await stage.pod("web", "node-1")
        await stage.wait("the answer is under way", lambda: daemon.told, 600.0)
        await stage.delete_pod("web")
        await stage.wait("it is gone", lambda: not stage.ports(), 3600.0)
        assert not stage.twice

    play(story)


def test_a_port_that_was_just_taken_back_is_not_off_its_node_before_its_daemon_said_so() -> None:
    async def story(stage: PodNodes) -> None:
        await ready(stage, "Serving")
        daemon = stage.daemons["node-1"]
        await stage.pod("web", "node-1")
        await assigned(stage, "web")
        await stage.delete_pod("web")
        ((port_id, told),) = daemon.told.items()
        daemon.held[port_id] = ("c1", told)  # of which nobody has heard yet
        daemon.slow_s = 20.0
        for turn in range(600):  # whatever it is that has the port looked at meanwhile
            await asyncio.sleep(1)
            for name in stage.ports():
                await stage.api.patch(Kind.PORT, name, {"metadata": {"labels": {"turn": str(turn)}}}, SPACE)
        assert not stage.twice
        daemon.slow_s = 0.01
        daemon.remove("c1")
        await stage.wait("it is gone", lambda: not stage.ports(), 600.0)
        assert not stage.twice

    play(story)
