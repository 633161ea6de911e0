"""Whether a port's pod is gone is asked of the API once."""

from typing import Any, cast

import pytest

from coordinator.controllers.net import departed as module
from coordinator.controllers.net.context import NetContext
from coordinator.controllers.net.departed import Departed
from coordinator.controllers.net.wants import Want, Wants
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json, Metadata, Ref, UidRef
from coordinator.core.objects.net import Port, PortAddress, PortSpec


class Around:
    """A context whose mirror knows no pod, and an API that counts who asks it."""

    def __init__(self, there: set[str]) -> None:
        self.there, self.asked = there, list[str]()
        self.mirrors, self.departed, self.served = self, Departed(), True

    def get(self, _kind: Foreign, _key: str) -> Json | None:
        return None

    def is_told(self, _kind: Foreign) -> bool:
        return self.served

    async def exists(self, _kind: Foreign, _name: str, uid: str, _namespace: str) -> bool:
        self.asked.append(uid)
        return uid in self.there


def port(uid: str) -> Port:
    spec = PortSpec(
        pod_ref=UidRef(name="web", uid=uid), node="node-1", network_ref=Ref(name="pods"), subnet_ref=Ref(name="pods"),
        mac="0a:d9:00:00:00:01", addresses=[PortAddress(cidr="10.16.0.2/16")],
    )  # fmt: skip
    return Port(metadata=Metadata(name="web-eth0", namespace="default", uid=f"port-{uid}"), spec=spec)


def wants_over(around: Around) -> Wants:
    return Wants(cast("NetContext", cast("Any", around)))


async def test_a_pod_that_is_gone_is_asked_for_once() -> None:
    around = Around(set())
    wants = wants_over(around)
    assert [await wants.of_port(port("a")) for _ in range(3)] == [Want.NO] * 3
    assert await wants.of_port(port("b")) is Want.NO
    assert around.asked == ["a", "b"]


async def test_a_pod_that_the_api_has_is_asked_for_until_the_mirror_tells() -> None:
    around = Around({"a"})
    wants = wants_over(around)
    assert [await wants.of_port(port("a")) for _ in range(2)] == [Want.UNKNOWN] * 2
    around.there.clear()
    assert await wants.of_port(port("a")) is Want.NO
    assert around.asked == ["a"] * 3


async def test_of_a_server_that_has_no_pods_at_all_nothing_is_believed() -> None:
    around = Around(set())
    around.served = False
    assert await wants_over(around).of_port(port("a")) is Want.UNKNOWN
    assert "a" not in around.departed
    around.served = True
    assert await wants_over(around).of_port(port("a")) is Want.NO


async def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GONE_KEPT", 1)
    around = Around(set())
    wants = wants_over(around)
    for uid in ("a", "b", "b", "a"):
        assert await wants.of_port(port(uid)) is Want.NO
    assert around.asked == ["a", "b", "a"]
