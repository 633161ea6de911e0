"""IPMI by stock pyghmi, against pyghmi's own management controller in another process."""

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coordinator.clients.ipmi import IpmiBmc
from coordinator.clients.model import BmcEndpoint, Credentials, PowerAction
from coordinator.core.objects.fleet import PowerState
from proto.errors import DpuError
from proto.reasons import Reason

ROOT = Path(__file__).resolve().parents[4]


class Served:
    """A controller that answers, and what it says that it did."""

    def __init__(self, port: int, process: Process) -> None:
        self.address = f"ipmi://127.0.0.1:{port}"
        self._process = process

    async def did(self) -> str:
        """The next thing that it did."""
        assert self._process.stdout
        async with asyncio.timeout(20):
            return (await self._process.stdout.readline()).decode().strip()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.ipmi_server", str(port), "secret", stdout=PIPE, cwd=ROOT
    )
    made = Served(port, process)
    assert await made.did() == "ready"
    yield made
    process.kill()
    await process.communicate()


def client(served: Served, thread: ThreadPoolExecutor, password: str = "secret") -> IpmiBmc:  # noqa: S107  (of the stand-in)
    credentials = Credentials(username="admin", password=password)
    return IpmiBmc(BmcEndpoint(address=served.address, credentials=credentials, secret="sys/bmc"), thread)


async def test_power_is_read_and_changed(served: Served) -> None:
    with ThreadPoolExecutor(1) as thread:
        bmc = client(served, thread)
        assert await bmc.power() is PowerState.OFF
        await bmc.act(PowerAction.ON)
        assert await served.did() == "on"
        assert await bmc.power() is PowerState.ON
        await bmc.act(PowerAction.SHUT_DOWN)
        assert await served.did() == "shutdown"
        await bmc.act(PowerAction.FORCE_OFF)
        assert await bmc.power() is PowerState.OFF
        await bmc.close()


async def test_the_first_boot_device_becomes_the_disk(served: Served) -> None:
    with ThreadPoolExecutor(1) as thread:
        bmc = client(served, thread)
        await bmc.boot_from_disk()
        assert await served.did() == "boot hd"
        await bmc.close()


async def test_a_wrong_password_names_the_secret(served: Served) -> None:
    with ThreadPoolExecutor(1) as thread, pytest.raises(DpuError) as caught:
        await client(served, thread, "wrong").power()
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert caught.value.field == "spec.bmc.credentialsSecretRef"
    assert "sys/bmc" in caught.value.remedy
