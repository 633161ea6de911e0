from dataclasses import replace

from dpu_daemon.model.usage import Report, Sampled, Usage
from dpu_daemon.plan.reports import Reporter

NAMES = {"a": ("pod-a", "c-a"), "b": ("pod-b", "c-b")}


def sampled(**groups: Usage) -> Sampled:
    return Sampled(unix_ms=1, groups=groups)


def state(reports: list[Report]) -> dict[str, dict[str, int | str]]:
    """What a reader knows after these reports."""
    paths: dict[int, str] = {}
    known: dict[str, dict[str, int | str]] = {}
    for report in reports:
        if report.full:
            paths, known = {}, {}
        for delta in report.groups:
            if delta.member is not None:
                paths[delta.index] = delta.member.path
                known[delta.member.path] = {}
            known[paths[delta.index]].update(delta.changed)
        for index in report.gone:
            del known[paths.pop(index)]
    return known


def test_only_what_changed_is_reported() -> None:
    reporter, usage = Reporter(), Usage(cpu_usage_us=5, memory_bytes=7)
    reporter.take(sampled(a=usage), NAMES)
    usage.cpu_usage_us = 9
    [delta] = reporter.take(sampled(a=usage), NAMES).groups
    assert (delta.changed, delta.member) == ({"cpu_usage_us": 9}, None)
    assert reporter.take(sampled(a=usage), NAMES).groups == ()


def test_a_group_that_falls_to_zero_is_reported() -> None:
    reporter = Reporter()
    reporter.take(sampled(a=Usage(memory_bytes=7)), NAMES)
    [delta] = reporter.take(sampled(a=Usage()), NAMES).groups
    assert delta.changed == {"memory_bytes": 0}


def test_a_reader_that_reads_everything_knows_everything() -> None:
    reporter, read = Reporter(), list[Report]()
    for groups in (
        {"a": Usage()},
        {"a": Usage(cpu_usage_us=1), "b": Usage()},
        {"b": Usage()},
        {"a": Usage(), "b": Usage()},
    ):
        reporter.take(sampled(**groups), NAMES)
        read += reporter.after(read[-1].sequence if read else 0)
    assert set(state(read)) == {"a", "b"}
    assert state(read) == state([reporter.full()])


def test_a_reader_that_was_away_goes_on_while_reports_are_kept() -> None:
    reporter = Reporter(kept=3)
    for value in range(6):
        reporter.take(sampled(a=Usage(cpu_usage_us=value)), NAMES)
    assert [report.sequence for report in reporter.after(4)] == [5, 6]
    [late] = reporter.after(1)
    assert late.full
    assert late.sequence == 6


def test_nothing_is_told_twice_or_before_the_first_sample() -> None:
    reporter = Reporter()
    assert list(reporter.after(0)) == []
    reporter.take(sampled(), NAMES)
    assert list(reporter.after(1)) == []


def test_a_full_report_says_who_each_group_is() -> None:
    reporter = Reporter()
    reporter.take(replace(sampled(a=Usage(cpuset="2-3")), host_cpu_percent=12.5), NAMES)
    full = reporter.full()
    assert full.host_cpu_percent == 12.5
    member = full.groups[0].member
    assert member is not None
    assert (member.path, member.pod_uid, member.container_id) == ("a", "pod-a", "c-a")
    assert full.groups[0].changed["cpuset"] == "2-3"
