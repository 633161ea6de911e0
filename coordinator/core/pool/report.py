"""A simulation's result as figures, as rows for people, and as CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from coordinator.core.pool.compaction import Compaction
from coordinator.core.pool.simulate import Sample, SimulationResult

PERCENTILES = (50, 90, 99, 100)
_HEADER = ("at_s", "machines", "running", "pending", "cpu_share", "memory_share")


@dataclass(frozen=True)
class Compacted:
    """The compaction score of the busiest moment.

    Attributes:
        found: the trials; None when there is no score.
        used: machines that were in use at that moment.
        why_not: why there is no score.
    """

    found: Compaction | None = None
    used: int = 0
    why_not: str = "not asked for"


@dataclass(frozen=True)
class Report:
    """What there is to tell about one simulation.

    Attributes:
        title: what was simulated.
        settings: how, as pairs of a word and its value.
    """

    title: str
    result: SimulationResult
    compacted: Compacted = field(default_factory=Compacted)
    settings: Sequence[tuple[str, str]] = ()


def figures(report: Report) -> dict[str, Any]:
    """All results as plain values; times in seconds, shares between 0 and 1."""
    result, samples = report.result, report.result.samples
    span_s = samples[-1].at_s - samples[0].at_s if len(samples) > 1 else 0.0
    machines = mean(samples, [s.machines for s in samples])
    found = report.compacted.found
    return {
        "machines_most": result.most_machines,
        "machines_mean": machines,
        "machine_hours": machines * span_s / 3600,
        "cpu_share_mean": mean(samples, [s.cpu_share for s in samples], [s.machines for s in samples]),
        "memory_share_mean": mean(samples, [s.memory_share for s in samples], [s.machines for s in samples]),
        "pending_s": {f"p{percent}": result.waited_percentile(percent) for percent in PERCENTILES},
        "started": len(result.waited_s),
        "never_started": len(result.never_started),
        "machines_added": result.added,
        "machines_removed": result.removed,
        "pods_moved": result.moved,
        "decisions": result.decisions,
        "simulated_s": span_s,
        "compaction": {
            "score": None if found is None else found.score,
            "stock": None if found is None else found.machines,
            "trials": [] if found is None else list(found.needed),
            "used": report.compacted.used,
            "why_not": "" if found is not None else report.compacted.why_not,
        },
        "groups_refused": dict(result.refusals),
        "machines_kept": dict(result.kept),
        "pods_unhelped": dict(result.unhelped),
    }


def summary(report: Report) -> list[tuple[str, str]]:
    """What a reader wants first, in words and figures."""
    told = figures(report)
    return [
        ("most machines", f"{told['machines_most']:,}"),
        ("machines, mean over time", f"{told['machines_mean']:,.1f}"),
        ("machine-hours", f"{told['machine_hours']:,.0f}"),
        ("CPU requested, mean", f"{told['cpu_share_mean']:.1%}"),
        ("memory requested, mean", f"{told['memory_share_mean']:.1%}"),
        *((f"pending, {words}", f"{told['pending_s'][name]:,.0f} s") for name, words in _WORDS.items()),
        ("pods started", f"{told['started']:,}"),
        ("pods never started", f"{told['never_started']:,}"),
        ("machines added", f"{told['machines_added']:,}"),
        ("machines removed", f"{told['machines_removed']:,}"),
        ("pods moved", f"{told['pods_moved']:,}"),
        ("compaction score", score_words(report.compacted)),
        ("decisions", f"{told['decisions']:,}"),
        ("simulated", f"{told['simulated_s']:,.0f} s ({told['simulated_s'] / 86_400:.2f} days)"),
    ]


_WORDS = {"p50": "median", "p90": "90th percentile", "p99": "99th percentile", "p100": "longest"}


def score_words(compacted: Compacted) -> str:
    """The score in words: machines that the load needs, of those that there are."""
    if compacted.found is None:
        return f"none: {compacted.why_not}"
    found = compacted.found
    return f"{found.score:,} of {found.machines:,} machines ({found.score / found.machines:.1%})"


def mean(samples: Sequence[Sample], values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Mean weighted by how long each sample held, and by ``weights`` where given (shares: by machines in use)."""
    spans = [after.at_s - sample.at_s for sample, after in pairwise(samples)] or [1.0]
    if weights is not None:
        spans = [span * weight for span, weight in zip(spans, weights, strict=False)]
    total = sum(spans)
    if not total or not values:
        return values[-1] if values else 0.0
    return sum(value * span for value, span in zip(values, spans, strict=False)) / total


def to_csv(result: SimulationResult) -> str:
    """One line per sample."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(_HEADER)
    rows.writerows([getattr(sample, name) for name in _HEADER] for sample in result.samples)
    return out.getvalue()
