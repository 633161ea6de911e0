"""What the annotation of a pod's ports says, whoever wrote it."""

from typing import Any

import pytest

from coordinator.core.net.pods import GIVEN
from coordinator.core.net.told import Told, entries_of, told_before

ENTRY = '{"name": "web-eth0", "subnet": "a", "mac": "02:00:00:00:00:05", "addresses": ["10.1.0.5/24"]}'


def pod(annotation: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "annotations": {GIVEN: annotation}}}


def test_what_a_pod_was_told_is_read_again() -> None:
    told = told_before(pod(f"[{ENTRY}]"), "web-eth0")
    assert told == Told(subnet="a", addresses=("10.1.0.5",), mac="02:00:00:00:00:05")
    assert told_before(pod(f"[{ENTRY}]"), "web-net1") is None


@pytest.mark.parametrize(
    "annotation",
    ["", "nonsense", "{}", "7", '["web-eth0"]', '[{"name": "web-eth0"}]', 7, "[" * 100_000, "9" * 5000],
    ids=lambda text: str(text)[:12] or "empty",
)
def test_what_cannot_be_read_says_nothing(annotation: Any) -> None:
    assert entries_of(pod(annotation)) == {}
