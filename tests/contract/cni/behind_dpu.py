"""A node whose switch is on its DPU: two namespaces, functions that are veth ends, two daemon processes."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from dpu_daemon.drivers.ethernet import disable_tx_checksum
from tests.contract.cni.daemon import ROOT
from tests.contract.cni.node import CniNodeRig
from tests.fakes.netns import inside, ip, netns
from tests.fakes.ovs import OvsStack
from tests.fakes.qsd import DIES_WITH_THE_TEST

VFS = 4
HOST = """\
name = "node-1"
mode = "host"
journal = "{folder}/journal.db"
listen = "unix:{folder}/host.sock"
[times]
audit_s = 0.5
drain_s = 2.0
[cni]
socket = "{folder}/cni.sock"
wait_s = {wait_s}
[vfs]
driver = "netdevs"
pattern = "vf{{n}}"
count = {vfs}
[dpu]
name = "dpu-1"
address = "unix:{folder}/d.sock"
silent_s = 1.0
"""
DPU = """\
name = "dpu-1"
mode = "dpu"
journal = "{folder}/dpu/journal.db"
listen = "unix:{folder}/d.sock"
[times]
audit_s = 0.5
drain_s = 2.0
[block]
seed_dir = "{folder}/dpu/seeds"
qmp = "{folder}/none.qmp"
nbd_socket = "{folder}/none.nbd"
[bus]
socket = "{folder}/none.bus"
[network]
host = "node-1"
vf_count = {vfs}
[switch]
ovsdb = "{ovsdb}"
datapath = "netdev"
"""


@dataclass
class BehindDpuRig(CniNodeRig):
    """The node; `ovs` is the DPU's."""

    dpu: str = ""
    card: subprocess.Popen[bytes] | None = None

    def spawn_dpu(self) -> None:
        """The DPU's daemon."""
        words = [sys.executable, "-m", "tests.fakes.net_daemon", str(self.folder / "dpu" / "daemon.toml")]
        with (self.folder / "dpu" / "log").open("ab") as log:
            self.card = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.dpu}", *DIES_WITH_THE_TEST, *words], cwd=ROOT, stderr=log
            )

    def kill_dpu(self) -> None:
        """kill -9."""
        if self.card is not None:
            self.card.kill()
            self.card.wait()
            self.card = None

    def freeze_dpu(self) -> None:
        """A DPU that takes calls and never answers: a black hole."""
        self._signal(signal.SIGSTOP)

    def thaw_dpu(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.card is not None
        os.kill(self.card.pid, number)


@asynccontextmanager
async def behind_dpu(executable: Path, *, wait_s: float = 20.0) -> AsyncIterator[BehindDpuRig]:
    """A host and its DPU, both daemons answering."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cd-", dir="/tmp")))
        host, dpu = stack.enter_context(netns("host")), stack.enter_context(netns("dpu"))
        for number in range(VFS):
            words = ("type", "veth", "peer", "name", f"vf{number}", "netns", host)
            ip("-n", dpu, "link", "add", f"pf0vf{number}", *words)
            with inside(host):
                disable_tx_checksum(f"vf{number}")
        for name in ("ovs", "dpu"):
            (folder / name).mkdir()
        ovs = OvsStack(folder / "ovs", dpu)
        stack.callback(ovs.stop)
        ovs.start()
        known = {"folder": folder, "ovsdb": ovs.socket, "vfs": VFS, "wait_s": wait_s}
        (folder / "daemon.toml").write_text(HOST.format(**known))
        (folder / "dpu" / "daemon.toml").write_text(DPU.format(**known))
        rig = BehindDpuRig(folder, host, ovs, executable, stack, dpu=dpu)
        stack.callback(rig.kill)
        stack.callback(rig.kill_dpu)
        try:
            rig.spawn_dpu()
            await rig.start()
            yield rig
        finally:
            await rig.channel.close()
