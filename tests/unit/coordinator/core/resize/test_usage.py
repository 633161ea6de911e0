import pytest

from coordinator.core.resize.usage import POINTS, Gap, GroupDelta, HostUsage, HostUsageReport


def report(sequence: int, *groups: GroupDelta, full: bool = False, gone: tuple[int, ...] = ()) -> HostUsageReport:
    return HostUsageReport(sequence=sequence, unix_ms=sequence * 1000, full=full, groups=groups, gone=gone)


def group(index: int, **changed: int) -> GroupDelta:
    return GroupDelta(index=index, changed=changed, pod_uid=f"p{index}", container_id=f"c{index}")


def test_a_rate_is_of_the_last_second_and_zero_for_what_did_not_change() -> None:
    host = HostUsage()
    host.take(report(1, group(1, cpu_usage_us=0, memory_bytes=5), full=True))
    host.take(report(2, GroupDelta(index=1, changed={"cpu_usage_us": 700_000, "throttled_periods": 2})))
    used = host.used("p1", "c1")
    assert used is not None
    assert (used.cpu_milli, used.throttled, used.memory_bytes) == (700, True, 5)
    host.take(report(3))
    used = host.used("p1", "c1")
    assert used is not None
    assert (used.cpu_milli, used.throttled) == (0, False)


def test_a_missing_report_is_a_gap_and_changes_nothing() -> None:
    host = HostUsage()
    host.take(report(1, group(1, memory_bytes=5), full=True))
    with pytest.raises(Gap):
        host.take(report(3, GroupDelta(index=1, changed={"memory_bytes": 9})))
    used = host.used("p1", "c1")
    assert used is not None
    assert used.memory_bytes == 5


def test_a_full_report_after_a_gap_replaces_all_and_may_rename_indices() -> None:
    host = HostUsage()
    host.take(report(1, group(1, memory_bytes=5), group(2, memory_bytes=6), full=True))
    renamed = GroupDelta(index=7, changed={"memory_bytes": 8}, pod_uid="p2", container_id="c2")
    host.take(report(9, renamed, full=True))
    assert host.used("p1", "c1") is None
    used = host.used("p2", "c2")
    assert used is not None
    assert used.memory_bytes == 8


def test_what_is_gone_is_forgotten_and_groups_above_containers_are_not_kept() -> None:
    host = HostUsage()
    host.take(report(1, group(1), GroupDelta(index=2, changed={"memory_bytes": 1}, pod_uid="p1"), full=True))
    assert len(host) == 1
    host.take(report(2, gone=(1,)))
    assert not list(host.names())


def test_the_window_of_a_container_is_bounded() -> None:
    host = HostUsage()
    host.take(report(1, group(1, cpu_usage_us=1), full=True))
    for at in range(2, 500):
        host.take(report(at, GroupDelta(index=1, changed={"cpu_usage_us": at})))
    (track,) = host._tracks.values()
    assert len(track.points) <= POINTS
