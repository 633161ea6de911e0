"""What an ADD costs, from the start of the executable to its end, beside the plug-ins that do the same by themselves.

Run as ``python -m pytest tests/bench/bench_cni_add.py -s``; prints medians and their ratio, asserts nothing about time.
Both are measured in turns, so that a busy machine is busy for both. Daemons, Open vSwitch and OVN are real.
"""

import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from rich.console import Console

from tests.contract.cni.behind_dpu import behind_dpu
from tests.contract.cni.daemon import built
from tests.contract.cni.node import CniNodeRig, assigned, cni_node, conf, pod_args
from tests.fakes.netns import inside, ip, netns
from tests.fakes.ovn import OvnCentral, OvnChassis

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

ROUNDS = 60
PLUGINS = Path("/usr/lib/cni")


@pytest.fixture
def executable(tmp_path: Path) -> Path:
    return asyncio.run(built(tmp_path / "dpu-cni"))


async def test_an_add_in_mode_default_beside_bridge_and_host_local(executable: Path, tmp_path: Path) -> None:
    async with cni_node(executable) as node:
        await node.assign(assigned("web"))
        config = {
            "cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": "cni0", "isGateway": True,
            "ipam": {"type": "host-local", "dataDir": str(tmp_path / "ipam"), "subnet": "10.99.0.0/16",
                     "routes": [{"dst": "0.0.0.0/0"}]},
        }  # fmt: skip
        with netns("bridge") as other:
            ours, theirs = await asyncio.to_thread(
                _in_turns, _ours(node), _theirs("bridge", other, config, node.container())
            )
    _tell("mode default", "bridge + host-local", ours, theirs)


async def test_an_add_in_mode_host_until_ovn_installed_beside_host_device(executable: Path, tmp_path: Path) -> None:
    async with behind_dpu(executable) as node:
        directory = node.folder / "ovn"
        directory.mkdir()
        central = OvnCentral(directory)
        chassis = OvnChassis(node.folder / "ovs", node.dpu, central)
        try:
            central.start()
            # The switch runs already: what is left of a chassis are its settings and ovn-controller.
            chassis.configure()
            chassis.start_controller()
            port = assigned("web", wait_for_ovn=True)
            addresses = " ".join([port.mac, *(each.cidr.split("/")[0] for each in port.addresses)])
            central.nbctl("ls-add", "pods", "--", "lsp-add", "pods", port.port_id)
            central.nbctl("--wait=sb", "lsp-set-addresses", port.port_id, addresses)
            await node.assign(port)
            with netns("device") as other:
                ip("-n", other, "link", "add", "rep0", "type", "veth", "peer", "name", "dev0")
                config = {
                    "cniVersion": "1.0.0", "name": "bench", "type": "host-device", "device": "dev0",
                    "ipam": {"type": "static", "addresses": [{"address": "10.99.0.5/16", "gateway": "10.99.0.1"}],
                             "routes": [{"dst": "0.0.0.0/0"}]},
                }  # fmt: skip
                ours, theirs = await asyncio.to_thread(
                    _in_turns, _ours(node), _theirs("host-device", other, config, node.container())
                )
        finally:
            chassis._processes.stop()
            central.stop()
    _tell("mode host, until ovn-installed", "host-device + static", ours, theirs)


def _in_turns(one: Callable[[], float], other: Callable[[], float]) -> tuple[list[float], list[float]]:
    pairs = [(one(), other()) for _ in range(ROUNDS)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _ours(node: CniNodeRig) -> Callable[[], float]:
    container = node.container()
    config = node.folder / "conf"
    config.write_text(json.dumps(conf("1.0.0")))

    def once() -> float:
        known = {
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"/run/netns/{container}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(node.executable.parent),
            "CNI_ARGS": pod_args("web"),
            "DPUPOOL_CNI_SOCKET": str(node.socket),
        }
        return _add_and_del(node.executable, known, config)

    return once


def _theirs(plugin: str, host: str, config: Mapping[str, object], container: str) -> Callable[[], float]:
    """In the namespace that plays their node."""
    file = Path(f"/tmp/bench-{plugin}-{os.getpid()}.json")

    def once() -> float:
        known = {
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"/run/netns/{container}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(PLUGINS),
        }
        file.write_text(json.dumps(config))
        try:
            with inside(host):
                return _add_and_del(PLUGINS / plugin, known, file)
        finally:
            file.unlink()

    return once


def _add_and_del(executable: Path, known: Mapping[str, str], config: Path) -> float:
    """Milliseconds of the ADD."""
    spent_ms = _spent_ms(executable, {**known, "CNI_COMMAND": "ADD"}, config)
    _spent_ms(executable, {**known, "CNI_COMMAND": "DEL"}, config)
    return spent_ms


def _spent_ms(executable: Path, environment: Mapping[str, str], config: Path) -> float:
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, str(config), os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    begun = time.perf_counter()
    process = os.posix_spawn(executable, [str(executable)], environment, file_actions=streams)
    _, status = os.waitpid(process, 0)
    spent = (time.perf_counter() - begun) * 1000
    assert status == 0, environment["CNI_COMMAND"]
    return spent


def _tell(what: str, beside: str, ours: list[float], theirs: list[float]) -> None:
    mine, other = statistics.median(ours), statistics.median(theirs)
    late, late_other = sorted(ours)[len(ours) * 9 // 10], sorted(theirs)[len(theirs) * 9 // 10]
    Console(width=240).print(
        f"ADD, {what}: median {mine:.1f} ms, p90 {late:.1f}, least {min(ours):.1f}; {beside}: {other:.1f} ms, p90 "
        f"{late_other:.1f}, least {min(theirs):.1f}; {mine / other:.2f} times as long, least by least "
        f"{min(ours) / min(theirs):.2f}"
    )
    assert len(ours) == len(theirs) == ROUNDS
