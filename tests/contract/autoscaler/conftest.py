"""The rig for every test of this folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.autoscaler.rig import Rig, autoscaler_rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with autoscaler_rig(tmp_path) as made:
        yield made
