"""The codes that the executable repeats are those of the table."""

import ast
from pathlib import Path

import pytest

from cni_plugin import codes
from proto.reasons import WIRE, Reason

TABLE = {
    "INVALID": Reason.INVALID,
    "TRY_LATER": Reason.DEADLINE,
    "UNAVAILABLE": Reason.UNAVAILABLE,
    "FORBIDDEN": Reason.FORBIDDEN,
    "INTERNAL": Reason.INTERNAL,
}
SPECIFICATION = {"BAD_ENVIRONMENT": 4, "IO_FAILURE": 5}


@pytest.mark.parametrize("name", TABLE)
def test_a_code_is_its_reasons_row(name: str) -> None:
    assert getattr(codes, name) == WIRE[TABLE[name]].cni


def test_every_code_is_the_tables_or_the_specifications() -> None:
    known = {name: value for name, value in vars(codes).items() if name.isupper()}
    assert set(known) == set(TABLE) | set(SPECIFICATION)
    assert {name: known[name] for name in SPECIFICATION} == SPECIFICATION


def test_the_codes_import_nothing() -> None:
    tree = ast.parse(Path(codes.__file__).read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
