"""What ends a daemon, besides a signal."""

import asyncio
import gc
from pathlib import Path

import pytest

from dpu_daemon import daemon
from dpu_daemon.config import load
from dpu_daemon.engine import core
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.protocols import Lost
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.target import FakeTarget
from tests.fakes.world import World

SETTINGS = """
name = "node-1"
mode = "storage"
journal = "{folder}/journal.db"
listen = "unix:{folder}/d.sock"
[block]
qmp = "{folder}/qsd.qmp"
nbd_listen = "127.0.0.1:10809"
volume_dir = "{folder}"
image_dir = "{folder}"
"""


class LateTarget(FakeTarget):
    """Answers when the daemon serves already, and with something that nobody expected.

    Args:
        serving: set then.
    """

    def __init__(self, serving: asyncio.Event) -> None:
        super().__init__(World())
        self._serving = serving

    async def start(self, lost: Lost) -> None:
        await self._serving.wait()
        raise KeyError("a release that nobody knows")


async def test_a_driver_that_breaks_when_it_comes_late_ends_the_daemon_in_order_and_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, serving = list[str](), asyncio.Event()

    def notify(*lines: str) -> None:
        said.append(lines[0])
        serving.set()

    monkeypatch.setattr(core, "START_S", 0.01)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(daemon, "notify", notify)
    path = tmp_path / "storage.toml"
    path.write_text(SETTINGS.format(folder=tmp_path), encoding="utf-8")
    with pytest.raises(DpuError) as ended:
        await daemon.run(load(path), path, daemon.Parts(target=lambda _: LateTarget(serving)))
    assert ended.value.reason is Reason.INTERNAL
    assert "cannot start: KeyError('a release that nobody knows')" in ended.value.message
    assert [line for line in said if line != "WATCHDOG=1"] == ["READY=1", "STOPPING=1"]
    Journal(tmp_path / "journal.db").close()
