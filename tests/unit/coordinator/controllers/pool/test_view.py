from typing import Any

import pytest

from coordinator.core.objects.pool import provider_id
from tests.unit.coordinator.controllers.pool.worlds import machine, view

MACHINE = machine("m1", "server-1")
KEY = provider_id(MACHINE.metadata.namespace, "m1")


def node(name: str, provider: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"providerID": provider} if provider else {}}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([node("m1", KEY), node("z", KEY)], "m1"),
        ([node("a", KEY), node("m1", KEY)], "m1"),
        ([node("m1", "")], "m1"),
        ([node("m1", ""), node("z", KEY)], "m1"),
        ([node("other", KEY)], "other"),
        ([node("m1", "dpupool://else/where"), node("other", KEY)], "other"),
        ([node("m1", "dpupool://else/where")], None),
        ([], None),
    ],
)
def test_a_machines_node_is_the_one_of_its_name_then_of_its_provider_id(
    nodes: list[dict[str, Any]], expected: str | None
) -> None:
    [member] = view([], [], (MACHINE,), tuple(nodes)).members
    assert (member.node["metadata"]["name"] if member.node else None) == expected
