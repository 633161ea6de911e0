"""Cases observed upstream: every case of every ca_*.json in the directory that DPUPOOL_VECTORS names."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

OWN = Path(__file__).parents[2] / "vectors"
Case = dict[str, Any]


def directory() -> Path:
    """Where the vectors are; the project's own copy unless the environment names another directory."""
    return Path(os.environ.get("DPUPOOL_VECTORS") or OWN)


def cases(files: str, section: str) -> list[Any]:
    """One pytest parameter per case of a section in the files that match."""
    return [
        pytest.param(case, id=f"{path.stem}-{case.get('id', f'{section}-{at}')}")
        for path in sorted(directory().glob(files))
        for at, case in enumerate(json.loads(path.read_text()).get(section) or [])
    ]
