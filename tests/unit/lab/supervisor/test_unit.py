"""Sets of units that cannot start are refused."""

import pytest

from lab.supervisor.unit import Unit, check_units
from proto.errors import DpuError


def unit(name: str, *after: str) -> Unit:
    return Unit(name, ("true",), after=after)


def test_units_that_wait_for_each_other_in_a_line_are_fine() -> None:
    check_units([unit("c", "b"), unit("b", "a"), unit("a")])


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ([unit("a"), unit("a")], "two units are called a"),
        ([unit("a", "ghost")], "waits for ghost, which does not exist"),
        ([unit("a", "b"), unit("b", "a")], "wait for each other"),
    ],
)
def test_units_that_can_never_start_are_refused(units: list[Unit], said: str) -> None:
    with pytest.raises(DpuError, match=said):
        check_units(units)
