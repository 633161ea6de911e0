"""The worst part speaks for the plug-in."""

from csi_plugin.readiness import Finding, Part, Readiness, Standing


def test_nothing_seen_is_starting() -> None:
    assert Readiness().worst().standing is Standing.STARTING


def test_a_part_that_is_never_named_is_not_asked_for() -> None:
    readiness = Readiness()
    readiness.tell(Part.SOCKET, Standing.READY)
    assert readiness.worst() == Finding(Standing.READY)


def test_the_worst_part_is_told_with_its_name() -> None:
    readiness = Readiness()
    readiness.tell(Part.SOCKET, Standing.STARTING, "not made")
    readiness.tell(Part.REGISTRATION, Standing.BROKEN, "refused")
    assert readiness.worst() == Finding(Standing.BROKEN, "registration with kubelet: refused")
    readiness.tell(Part.REGISTRATION, Standing.READY)
    assert readiness.worst() == Finding(Standing.STARTING, "CSI socket: not made")


def test_only_what_changed_is_news() -> None:
    readiness = Readiness()
    assert readiness.tell(Part.SOCKET, Standing.STARTING, "a")
    assert not readiness.tell(Part.SOCKET, Standing.STARTING, "a")
    assert readiness.tell(Part.SOCKET, Standing.STARTING, "b")
