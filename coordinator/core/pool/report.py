"""A simulation's result as rows, as CSV, and as one HTML page that needs nothing else."""

import csv
import io
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from coordinator.core.pool.simulate import Sample, SimulationResult

WIDTH, HEIGHT, MARGIN = 860, 180, 46
MOST_POINTS = 1200
_HEADER = ("at_s", "machines", "running", "pending", "cpu_share", "memory_share")
_STYLE = (
    "body{font:15px system-ui,sans-serif;max-width:920px;margin:2em auto;padding:0 1em;color:#1c2733}"
    "table{border-collapse:collapse}td{padding:.2em 1.2em .2em 0}td+td{text-align:right}"
    "h2{margin:1.4em 0 .2em;font-size:1.05em}svg{width:100%}text{font:11px system-ui,sans-serif;fill:#5a6773}"
)


def summary(result: SimulationResult) -> list[tuple[str, str]]:
    """What a reader wants first, in words and figures."""
    samples = result.samples
    span_s = samples[-1].at_s - samples[0].at_s if len(samples) > 1 else 0.0
    rows = [
        ("most machines", str(result.most_machines)),
        ("machines, mean over time", f"{_mean(samples, [s.machines for s in samples]):.1f}"),
        ("CPU requested, mean over time", f"{_mean(samples, [s.cpu_share for s in samples]):.1%}"),
        ("memory requested, mean over time", f"{_mean(samples, [s.memory_share for s in samples]):.1%}"),
        *((f"pending, {p}th percentile", f"{result.waited_percentile(p):.0f} s") for p in (50, 90, 99)),
        ("pods never started", str(len(result.never_started))),
        ("machines added", str(result.added)),
        ("machines removed", str(result.removed)),
        ("pods moved", str(result.moved)),
        ("decisions", str(result.decisions)),
        ("simulated", f"{span_s:.0f} s"),
    ]
    return rows + [(f"group refused: {reason}", str(times)) for reason, times in result.refusals.items()]


def _mean(samples: Sequence[Sample], values: Sequence[float]) -> float:
    """Mean weighted by how long each sample held."""
    spans = [after.at_s - sample.at_s for sample, after in pairwise(samples)]
    total = sum(spans)
    if not total:
        return values[-1] if values else 0.0
    return sum(value * span for value, span in zip(values, spans, strict=False)) / total


def to_csv(result: SimulationResult) -> str:
    """One line per sample."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(_HEADER)
    rows.writerows([getattr(sample, name) for name in _HEADER] for sample in result.samples)
    return out.getvalue()


def to_html(result: SimulationResult, title: str) -> str:
    """A page with the summary and plots over time."""
    samples = _thinned(result.samples)
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in summary(result))
    pods = [[s.running for s in samples], [s.pending for s in samples]]
    shares = [[s.cpu_share for s in samples], [s.memory_share for s in samples]]
    plots = [
        _plot("Machines", samples, [[s.machines for s in samples]], ["#2456a6"]),
        _plot("Pods: running (green), pending (red)", samples, pods, ["#2e8b57", "#c0392b"]),
        _plot("Requested share: CPU (blue), memory (orange)", samples, shares, ["#2456a6", "#d9822b"]),
    ]
    name = escape(title)
    head = f'<meta charset="utf-8"><title>{name}</title><style>{_STYLE}</style>'
    body = f"<h1>{name}</h1><table>{cells}</table>{''.join(plots)}"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'


def _thinned(samples: Sequence[Sample]) -> list[Sample]:
    """At most so many samples as a plot can show, the busiest of each stretch."""
    step = -(-len(samples) // MOST_POINTS) or 1
    return [max(samples[at : at + step], key=lambda s: (s.pending, s.machines)) for at in range(0, len(samples), step)]


def _plot(title: str, samples: Sequence[Sample], lines: Sequence[Sequence[float]], colours: Sequence[str]) -> str:
    top = max((max(line, default=0) for line in lines), default=0) or 1
    first = samples[0].at_s if samples else 0.0
    span = (samples[-1].at_s - first if samples else 0.0) or 1.0
    paths = "".join(
        f'<path fill="none" stroke="{colour}" stroke-width="1.5" d="{_steps(samples, line, first, span, top)}"/>'
        for line, colour in zip(lines, colours, strict=True)
    )
    bottom = HEIGHT - 20
    axes = f'<path stroke="#aab4be" fill="none" d="M{MARGIN} 10V{bottom}H{WIDTH}"/>'
    shown = f"{top:.0f}" if top > 1 else f"{top:.0%}"
    words = f'<text x="{MARGIN - 6}" y="16" text-anchor="end">{shown}</text>'
    words += f'<text x="{MARGIN - 6}" y="{bottom}" text-anchor="end">0</text>'
    words += f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">{span / 3600:.1f} h</text>'
    name = escape(title)
    return (
        f'<h2>{name}</h2><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{axes}{paths}{words}</svg>'
    )


def _steps(samples: Sequence[Sample], line: Sequence[float], first: float, span: float, top: float) -> str:
    """A step line: a value holds until the next sample."""
    room, height = WIDTH - MARGIN, HEIGHT - 30
    points = [
        (MARGIN + (sample.at_s - first) / span * room, HEIGHT - 20 - value / top * height)
        for sample, value in zip(samples, line, strict=True)
    ]
    return "".join(f"{'H' if at else 'M'}{x:.1f} {'V' if at else ''}{y:.1f}" for at, (x, y) in enumerate(points))
