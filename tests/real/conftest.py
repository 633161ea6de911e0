"""The lab that all story tests share: one bring-up, each test leaves it as it found it."""

import os
from collections.abc import Iterator

import pytest

from tests.real.running_lab import RunningLab, lab_name, running_lab


@pytest.fixture(scope="session")
def story_lab() -> Iterator[RunningLab]:
    """A lab with one host."""
    with running_lab(lab_name("s")) as lab:
        yield lab


collect_ignore_glob = [] if os.environ.get("SPDK_TGT") else ["test_spdk_*.py"]
"""A real spdk_tgt is an extra: no distribution has one. The fake is held to it by the contract tests."""
