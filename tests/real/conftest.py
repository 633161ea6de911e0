"""The lab that all story tests share: one bring-up, each test leaves it as it found it."""

from collections.abc import Iterator

import pytest

from tests.real.running_lab import RunningLab, running_lab


@pytest.fixture(scope="session")
def story_lab() -> Iterator[RunningLab]:
    """A lab with one host."""
    with running_lab("tstory") as lab:
        yield lab
