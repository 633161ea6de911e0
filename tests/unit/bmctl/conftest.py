from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.bmctl.stage import Stage, a_stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_stage(tmp_path) as found:
        yield found
