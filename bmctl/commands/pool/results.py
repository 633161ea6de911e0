"""A simulation's result on the terminal: tables, JSON or CSV."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from enum import Enum
from itertools import pairwise

from rich.text import Text

from bmctl.columns import Columns
from bmctl.commands.pool.spans import span
from coordinator.core.pool.report import Report, figures, summary, to_csv
from coordinator.core.pool.simulate import Sample

ROWS = 16
BAR = 24


class Form(Enum):
    """What -o chooses."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def shown(report: Report, form: Form) -> Iterator[Text | str]:
    """The result, line by line."""
    match form:
        case Form.JSON:
            samples = [asdict(sample) for sample in report.result.samples]
            settings = dict(report.settings)
            told = {"title": report.title, "settings": settings, **figures(report), "samples": samples}
            yield json.dumps(told, indent=2, ensure_ascii=False)
        case Form.CSV:
            yield to_csv(report.result).rstrip("\n")
        case Form.TABLE:
            yield from _tables(report)


def _tables(report: Report) -> Iterator[Text | str]:
    yield from Columns(["figure", "value"]).lines(summary(report))
    if report.result.samples:
        yield ""
        yield from _over_time(report)
    result = report.result
    reasons: tuple[tuple[str, Mapping[str, int]], ...] = (
        ("pods pending at the end", result.unhelped),
        ("pool refused, decisions", result.refusals),
        ("machine stayed, machines x decisions", result.kept),
    )
    for title, counts in reasons:
        if counts:
            yield ""
            ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
            yield from Columns([title, "times"]).lines([(reason, f"{count:,}") for reason, count in ranked[:ROWS]])


def _over_time(report: Report) -> list[Text]:
    most = report.result.most_machines or 1
    first_s = report.result.samples[0].at_s
    rows = [
        (
            span(sample.at_s - first_s),
            f"{sample.machines:,}",
            f"{sample.running:,}",
            f"{sample.pending:,}",
            f"{sample.cpu_share:.0%}",
            f"{sample.memory_share:.0%}",
            "#" * round(BAR * sample.machines / most),
        )
        for sample in _spread(report.result.samples)
    ]
    return Columns(["time", "machines", "running", "pending", "cpu", "memory", "machines over time"]).lines(rows)


def _spread(samples: tuple[Sample, ...]) -> list[Sample]:
    """The state at evenly spaced moments, the first and the last among them."""
    first_s, last_s = samples[0].at_s, samples[-1].at_s
    if len(samples) <= ROWS:
        return list(samples)
    wanted = [first_s + (last_s - first_s) * number / (ROWS - 1) for number in range(ROWS)]
    found: list[Sample] = []
    at = 0
    for moment in wanted:
        while at + 1 < len(samples) and samples[at + 1].at_s <= moment + 1e-6:
            at += 1
        found.append(samples[at])
    return found[:1] + [after for before, after in pairwise(found) if after is not before]
