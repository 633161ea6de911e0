"""pydpu, the OPI project's own Python client, drives this daemon; it needs an interpreter of its own.

It brings packages called `proto` and `google`, and its generated messages have the names of ours: it cannot live in one
environment with this project. PYDPU_PYTHON names a Python that has it (make interop makes one).
"""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.spdk.emulation import SocketEmulation
from dpu_daemon.drivers.spdk.opi import SpdkOpi
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.engine.opi.objects import OpiLayer
from dpu_daemon.service.opi.admission import FILES
from proto.opi_api.storage.v1 import opicommon_pb2
from tests.contract.drivers.spdk_rigs import SpdkRig
from tests.contract.opi.interop import fingerprint, run
from tests.fakes.opi_daemon import OpiDaemon, OpiWorld, opi_daemon

CLIENT = Path(__file__).with_name("pydpu_client.py")
PYTHON = os.environ.get("PYDPU_PYTHON", "")
PUBLISHED = "b81b2656cc694e2845efd55d6739f7166af242c9ea178402d4b77553d4d8689f"


@pytest.fixture
async def daemon(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpiDaemon]:
    directory = tmp_path_factory.mktemp("o")
    rig = SpdkRig(directory, real=False, targets=False)
    await rig.start()
    keys = FileCredentials(directory / "keys")
    driver = SpdkOpi(
        SpdkRpc(str(rig.dpu_socket)), emulation=SocketEmulation(directory=directory / "vfu", slots=8), keys=keys
    )
    around = OpiWorld()
    drivers = replace(around.drivers(), opi=OpiLayer(driver, keys))
    async with opi_daemon(directory, around, drivers) as running:
        yield running
    await rig.stop()


if PYTHON:

    async def test_pydpu_makes_shows_lists_and_deletes(daemon: OpiDaemon) -> None:
        said, errors = await run(PYTHON, str(CLIENT), daemon.address)
        assert said == ["subsystem", "controller", "namespace", "deleted", "layers"], errors


def test_our_contract_is_the_published_one_to_the_last_field() -> None:
    """The fingerprint was taken, by the same functions, from the modules that pydpu 0.2.1 ships."""
    assert fingerprint((*FILES, opicommon_pb2.DESCRIPTOR)) == PUBLISHED
