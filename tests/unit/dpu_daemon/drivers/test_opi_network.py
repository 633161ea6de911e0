"""OPI's network as its driver sees it: what cannot be asked is told once."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dpu_daemon.drivers.opi_network import kernel, namespaces
from dpu_daemon.drivers.opi_network.driver import OvsNetwork
from dpu_daemon.drivers.opi_network.kernel import Domains
from dpu_daemon.drivers.opi_network.switch import OpiBridge
from proto.errors import DpuError
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
