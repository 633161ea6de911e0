"""A real southbound database that stands still: ovn-controller does not say so, the daemon does."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from dpu_daemon.drivers import southbound
from dpu_daemon.drivers.ovn_switch import OvnSwitch
from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from dpu_daemon.drivers.southbound import Southbound
from dpu_daemon.engine.pod_protocols import SwitchTrouble
from proto.ovsdb.remotes import parse_remotes
from tests.fakes.netns import netns
from tests.fakes.ovn import OvnCentral, OvnChassis


async def _until(switch: OvnSwitch, holds: Callable[[str], bool]) -> str:
    async with asyncio.timeout(60):
        while True:
            if holds(said := (await switch.trouble()).message):
                return said
            await asyncio.sleep(0.1)


async def test_a_southbound_database_that_stands_still_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(southbound, "ASK_S", 1.0)
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="sb-", dir="/tmp")))
        for name in ("central", "chassis"):
            (folder / name).mkdir()
        central = OvnCentral(folder / "central")
        held.callback(central.stop)
        central.start()
        chassis = OvnChassis(folder / "chassis", held.enter_context(netns("sb")), central)
        held.callback(chassis.stop)
        chassis.start()
        watch = Southbound(parse_remotes(central.southbound, "ovn.remote"), None, probe_s=0.5)
        switch = OvnSwitch(watch, socket=chassis.ovs.socket, datapath="netdev", secure=("br-int",))
        await switch.start(lambda _: None)
        try:
            await _until(switch, lambda said: not said)
            frozen = int((folder / "central" / "sb.pid").read_text())
            os.kill(frozen, signal.SIGSTOP)
            try:
                said = await _until(switch, bool)
                assert "southbound database" in said
                assert not (await switch.trouble()).forwarding
                assert await OvsdbSwitch.trouble(switch) == SwitchTrouble(), "ovn-controller says so by itself"
            finally:
                os.kill(frozen, signal.SIGCONT)
            await _until(switch, lambda said: not said)
        finally:
            await switch.stop()
