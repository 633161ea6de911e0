"""pydpu drives OPI's network, too; see `test_pydpu` for why it needs an interpreter of its own."""

import os
from pathlib import Path

from dpu_daemon.service.opi.admission import NET_FILES
from proto.opi_api.network.evpn_gw.v1alpha1 import component_pb2
from proto.opi_api.network.opinetcommon.v1alpha1 import networktypes_pb2
from tests.contract.opi.interop import fingerprint, run
from tests.fakes.opi_net_daemon import NetWorld, net_daemon

CLIENT = Path(__file__).with_name("pydpu_network_client.py")
PYTHON = os.environ.get("PYDPU_PYTHON", "")
PUBLISHED = "ccba05054779e45ccd797ae889df94c5d0fc90810e9717cf985af261aabd3465"

if PYTHON:

    async def test_pydpu_makes_shows_lists_and_deletes(tmp_path: Path) -> None:
        around = NetWorld()
        async with net_daemon(tmp_path, around) as daemon:
            said, errors = await run(PYTHON, str(CLIENT), daemon.address)
        assert said == ["refused", "bridge", "port", "domain", "deleted"], errors
        assert not around.state.ports


def test_our_contract_is_the_published_one_to_the_last_field() -> None:
    """The fingerprint was taken, by the same functions, from the modules that pydpu 0.2.1 ships."""
    assert fingerprint((*NET_FILES, component_pb2.DESCRIPTOR, networktypes_pb2.DESCRIPTOR)) == PUBLISHED
