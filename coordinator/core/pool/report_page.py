"""A simulation's result as one HTML page that needs nothing else: figures, plots and reasons."""

from collections.abc import Mapping, Sequence
from html import escape

from coordinator.core.pool.report import Report, figures, summary
from coordinator.core.pool.report_plot import MOST_POINTS, Line, Plot, draw
from coordinator.core.pool.simulate import Sample, SimulationResult

MOST_REASONS = 12
_NOTES = (
    "Means over time are weighted by how long a state held; shares also by the machines in use. Compaction: machines "
    "are taken away at random until the load of the busiest moment no longer fits; the score is the 90th percentile of "
    "the trials."
)
_STYLE = """
:root{--back:#f6f7f9;--card:#fff;--ink:#17202b;--soft:#5d6b7a;--rule:#e3e8ee;--blue:#2f6fdb;--green:#1d8a5b;
--red:#d1453b;--orange:#d77f1a}
@media(prefers-color-scheme:dark){:root{--back:#10151c;--card:#18202a;--ink:#e6ebf1;--soft:#93a1b1;--rule:#2a3542;
--blue:#6ea3ff;--green:#4cc38a;--red:#ff7b72;--orange:#f0a04b}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.45 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:980px;margin:0 auto;padding:32px 20px 48px}
h1{font-size:1.55em;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1em;margin:0;font-weight:600}
.settings{color:var(--soft);margin:.35em 0 1.5em}
.settings span{white-space:nowrap;margin-right:1.1em}
.settings b{color:var(--ink);font-weight:500}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;margin-bottom:16px}
@media(max-width:720px){.tiles{grid-template-columns:repeat(2,1fr)}}
.tiles div,figure,section{background:var(--card);border:1px solid var(--rule);border-radius:10px}
.tiles div{padding:12px 14px}
.tiles span{display:block;color:var(--soft);font-size:.82em}
.tiles strong{display:block;font-size:1.6em;line-height:1.25;font-variant-numeric:tabular-nums;font-weight:600}
.tiles .bad strong{color:var(--red)}
figure,section{margin:0 0 16px;padding:14px 16px}
figcaption{display:flex;justify-content:space-between;align-items:baseline;gap:12px;flex-wrap:wrap;margin-bottom:6px}
figcaption p{margin:0;color:var(--soft);font-size:.85em}
figcaption span{margin-left:16px}
figcaption i{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
figcaption b{margin-left:6px;color:var(--ink);font-weight:500;font-variant-numeric:tabular-nums}
i.blue{background:var(--blue)}i.green{background:var(--green)}i.red{background:var(--red)}
i.orange{background:var(--orange)}
svg{display:block;width:100%;height:auto}
svg text{font-size:11px;fill:var(--soft);font-variant-numeric:tabular-nums}
.grid,.axis{fill:none;stroke:var(--rule)}.axis{stroke:var(--soft);stroke-opacity:.6}
.line{fill:none;stroke-width:1.6;stroke-linejoin:round}.area{stroke:none;fill-opacity:.11}
.line.blue{stroke:var(--blue)}.line.green{stroke:var(--green)}.line.red{stroke:var(--red)}
.line.orange{stroke:var(--orange)}
.area.blue{fill:var(--blue)}.area.green{fill:var(--green)}.area.red{fill:var(--red)}.area.orange{fill:var(--orange)}
.hover{fill:var(--ink);fill-opacity:0}.hover:hover{fill-opacity:.07}
table{width:100%;border-collapse:collapse;margin-top:8px;font-size:.92em}
td{padding:4px 0;border-top:1px solid var(--rule);vertical-align:middle}
tr:first-child td{border-top:0}
td:last-child{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;padding-left:16px}
.bar td:nth-child(2){width:38%}
.bar td:nth-child(2) div{height:9px;border-radius:5px;background:var(--blue);min-width:2px}
.note{color:var(--soft);font-size:.85em;margin:.2em 0 0}
.two{display:grid;grid-template-columns:1fr 1fr;gap:0 40px;align-items:start}
@media(max-width:720px){.two{grid-template-columns:1fr}}
footer{color:var(--soft);font-size:.82em}
"""


def to_html(report: Report) -> str:
    """A page with figures, plots over time and reasons; it loads nothing and runs nothing."""
    name = escape(report.title)
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style>"
    )
    settings = "".join(f"<span>{escape(word)} <b>{escape(value)}</b></span>" for word, value in report.settings)
    parts = [
        f'<h1>{name}</h1><p class="settings">{settings}</p>',
        _tiles(report),
        "".join(draw(plot) for plot in _plots(report.result)),
        _reasons("Pods still pending at the end", "pods, by reason and pool", report.result.unhelped),
        _reasons("Pools that were no option", "decisions, by reason", report.result.refusals),
        _reasons("Machines that stayed", "machines times decisions, by reason", report.result.kept),
        _table(report),
        f"<footer>{_NOTES}</footer>",
    ]
    body = f"<main>{''.join(parts)}</main>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'


def _tiles(report: Report) -> str:
    told = figures(report)
    found = report.compacted.found
    pending = told["pending_s"]
    tiles = [
        ("most machines", f"{told['machines_most']:,}", ""),
        ("machines, mean", f"{told['machines_mean']:,.1f}", ""),
        ("CPU requested, mean", f"{told['cpu_share_mean']:.1%}", ""),
        ("memory requested, mean", f"{told['memory_share_mean']:.1%}", ""),
        ("pending, median", _seconds(pending["p50"]), ""),
        ("pending, 99th percentile", _seconds(pending["p99"]), ""),
        ("pods never started", f"{told['never_started']:,}", "bad" if told["never_started"] else ""),
        ("load fits on", "no score" if found is None else f"{found.score:,} of {found.machines:,}", ""),
    ]
    cells = (f'<div class="{mood}"><span>{word}</span><strong>{value}</strong></div>' for word, value, mood in tiles)
    return f'<div class="tiles">{"".join(cells)}</div>'


def _plots(result: SimulationResult) -> list[Plot]:
    samples = thinned(result.samples)
    at = [sample.at_s for sample in samples]
    pods = [
        Line("running", "green", [s.running for s in samples]),
        Line("pending", "red", [s.pending for s in samples]),
    ]
    shares = [
        Line("CPU", "blue", [s.cpu_share for s in samples]),
        Line("memory", "orange", [s.memory_share for s in samples]),
    ]
    waits = [result.waited_percentile(percent) for percent in range(101)]
    percents = [(float(percent), f"{percent} %") for percent in range(0, 101, 10)]
    return [
        Plot("Machines in use", at, [Line("machines", "blue", [s.machines for s in samples])]),
        Plot("Pods", at, pods),
        Plot("Requested share of the machines in use", at, shares, "{:.0%}".format, top=1.0),
        Plot(
            "Pending time that so many percent of the started pods did not exceed",
            [float(percent) for percent in range(101)],
            [Line("pending", "red", waits)],
            _seconds,
            percents,
            stepped=False,
        ),
    ]


def thinned(samples: Sequence[Sample]) -> list[Sample]:
    """At most so many samples as a plot can show, the busiest of each stretch."""
    step = -(-len(samples) // MOST_POINTS) or 1
    return [max(samples[at : at + step], key=lambda s: (s.pending, s.machines)) for at in range(0, len(samples), step)]


def _seconds(value: float) -> str:
    if value and value < 10:
        return f"{value:.1f} s"
    return f"{value:,.0f} s" if value < 7200 else f"{value / 3600:,.1f} h"


def _reasons(title: str, unit: str, counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    most = ranked[0][1] or 1
    rows = "".join(
        f'<tr><td>{escape(reason)}</td><td><div style="width:{100 * count / most:.1f}%"></div></td>'
        f"<td>{count:,}</td></tr>"
        for reason, count in ranked[:MOST_REASONS]
    )
    rest = len(ranked) - MOST_REASONS
    more = f'<p class="note">and {rest:,} more reasons</p>' if rest > 0 else ""
    return f'<section><h2>{title}</h2><p class="note">{unit}</p><table class="bar">{rows}</table>{more}</section>'


def _table(report: Report) -> str:
    rows = summary(report)
    half = -(-len(rows) // 2)
    tables = "".join(
        "<table>" + "".join(f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in part) + "</table>"
        for part in (rows[:half], rows[half:])
    )
    return f'<section><h2>All figures</h2><div class="two">{tables}</div></section>'
