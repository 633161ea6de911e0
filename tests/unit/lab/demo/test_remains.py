"""What counts as left behind."""

from lab.demo.remains import left


def test_only_what_is_new_is_left() -> None:
    before = {"ports": frozenset({"up0"}), "volumes": frozenset({"old"})}
    after = {"ports": frozenset({"up0", "pf0vf1", "pf0vf0"}), "volumes": frozenset({"old"})}
    assert left(before, after) == ["ports: pf0vf0, pf0vf1"]


def test_what_went_away_is_not_left() -> None:
    assert left({"volumes": frozenset({"old"})}, {"volumes": frozenset()}) == []
