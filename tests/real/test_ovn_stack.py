"""The rig of the network tests itself: two chassis of a real OVN, joined by Geneve."""

import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.netns import netns
from tests.fakes.ovn import OvnCentral, OvnChassis, join_underlay, wait_until

pytestmark = pytest.mark.real


def test_two_namespaces_on_two_chassis_reach_each_other() -> None:
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="ov-", dir="/tmp")))
        names = [held.enter_context(netns(label)) for label in ("dpu1", "dpu2", "a", "b", "fab")]
        (folder / "c").mkdir()
        central = OvnCentral(folder / "c")
        held.callback(central.stop)
        central.start()
        chassis = []
        for number in (0, 1):
            (folder / f"d{number}").mkdir()
            one = OvnChassis(folder / f"d{number}", names[number], central, encap_ip=f"192.0.2.{number + 1}")
            held.callback(one.stop)
            one.start()
            chassis.append(one)
        join_underlay(chassis, names[4])
        central.nbctl("ls-add", "s")
        for number, name in enumerate(("a", "b")):
            mac = f"02:00:00:00:00:0{number + 1}"
            central.nbctl("lsp-add", "s", name, "--", "lsp-set-addresses", name, f"{mac} 10.5.0.{number + 1}")
            chassis[number].plug(name, names[2 + number], mac=mac, addresses=(f"10.5.0.{number + 1}/24",))
        central.nbctl("--wait=hv", "sync")

        wait_until(lambda: _pings(names[2], "10.5.0.2"), "a ping across Geneve")


def _pings(source: str, address: str) -> bool:
    command = ["ip", "netns", "exec", source, "ping", "-c1", "-W1", address]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
