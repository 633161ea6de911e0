"""Reads the recorded cases from the directory that DPUPOOL_VECTORS names."""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from proto.cpuset import Mask, show
from proto.errors import DpuError

DIRECTORY = Path(os.environ.get("DPUPOOL_VECTORS", Path(__file__).parents[2] / "vectors"))


@cache
def load(path: Path) -> dict[str, Any]:
    """One file of vectors."""
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def cases(pattern: str, key: str = "cases") -> list[Any]:
    """Every case of every file that matches, as pytest parameters (path, case)."""
    files = sorted(DIRECTORY.glob(pattern))
    return [
        pytest.param(path, case, id=f"{path.stem}-{case['id']}") for path in files for case in load(path).get(key, ())
    ]


def judge(case: dict[str, Any], choose: Callable[[], Mask]) -> None:
    """Compare a choice, or its refusal, with what upstream did."""
    if case.get("error"):
        with pytest.raises(DpuError) as refusal:
            choose()
        assert refusal.value.message == case["error"]
    else:
        assert show(choose()) == case["expect"]
