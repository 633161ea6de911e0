"""dpu-csi as a process, as systemd starts it."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 60.0
ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Site:
    """The folders of one host."""

    root: Path
    enabled: bool | None = True
    """What the settings say of registration; None says nothing."""
    node: str = ""
    """Name of the node; empty without that service."""

    @property
    def csi(self) -> Path:
        return self.root / "plugins" / "csi.sock"

    @property
    def registry(self) -> Path:
        return self.root / "registry"

    @property
    def registration(self) -> Path:
        return self.registry / "csi.dpupool.io-reg.sock"

    @property
    def settings(self) -> Path:
        """Written anew."""
        path = self.root / "csi.toml"
        path.write_text(
            f'endpoint = "unix://{self.csi}"\ndrain_s = 1.0\n'
            f'[registration]\ndirectory = "{self.registry}"\n'
            + (f"enabled = {str(self.enabled).lower()}\n" if self.enabled is not None else "")
            + (f'[node]\nname = "{self.node}"\nstate_dir = "{self.root / "state"}"\n' if self.node else "")
        )
        return path


@dataclass
class Running:
    """A started plug-in."""

    process: asyncio.subprocess.Process
    notices: socket.socket

    async def notice(self, wanted: str) -> None:
        """Wait for a message to systemd."""
        async with asyncio.timeout(LIMIT_S):
            while wanted not in (await asyncio.get_running_loop().sock_recv(self.notices, 4096)).decode().split("\n"):
                pass

    async def end(self) -> tuple[int, str]:
        """Exit status and log, once it ended by itself."""
        async with asyncio.timeout(LIMIT_S):
            _, log = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, log.decode()

    async def terminate(self) -> tuple[int, str]:
        self.process.terminate()
        return await self.end()


@contextlib.asynccontextmanager
async def started(site: Site, *, wait: bool = True) -> AsyncIterator[Running]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        address = site.root / "notify"
        address.unlink(missing_ok=True)
        notices.bind(str(address))
        notices.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "csi_plugin.main",
            "--config",
            site.settings,
            cwd=ROOT,
            env={**os.environ, "NOTIFY_SOCKET": str(address)},
            stderr=asyncio.subprocess.PIPE,
        )
        running = Running(process, notices)
        try:
            if wait:
                await running.notice("READY=1")
            yield running
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
