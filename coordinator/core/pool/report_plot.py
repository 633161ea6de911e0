"""Plots as SVG: step lines over time, and the curve of waiting times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 880, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 28
MOST_POINTS = 1200
_HOVERS = 110
_Y_TICKS, _X_TICKS = 4, 8
_TIME_STEPS = (
    *((1, 1, "s"), (5, 1, "s"), (15, 1, "s"), (60, 60, "min"), (300, 60, "min"), (900, 60, "min")),
    *((3600, 3600, "h"), (10_800, 3600, "h"), (21_600, 3600, "h"), (43_200, 3600, "h"), (86_400, 86_400, "d")),
)


@dataclass(frozen=True)
class Line:
    """One line of a plot: its name in the legend, its colour's name in the style sheet, its values."""

    name: str
    colour: str
    values: Sequence[float]


@dataclass(frozen=True)
class Plot:
    """A plot's content.

    Attributes:
        at: places on the horizontal axis, rising.
        shown: a value in words.
        ticks: places to mark on the horizontal axis, with their words; of time when None.
        stepped: a value holds until the next place.
        top: end of the vertical axis; from the values when None.
    """

    title: str
    at: Sequence[float]
    lines: Sequence[Line]
    shown: Callable[[float], str] = "{:,.0f}".format
    ticks: Sequence[tuple[float, str]] | None = None
    stepped: bool = True
    top: float | None = None


def draw(plot: Plot) -> str:
    """The plot as a figure with title and legend."""
    highest = max((max(line.values, default=0.0) for line in plot.lines), default=0.0)
    step = nice_step((plot.top or highest or 1.0) / _Y_TICKS)
    top = plot.top or step * max(-(-highest // step), 1)
    start, end = (plot.at[0], plot.at[-1]) if plot.at else (0.0, 1.0)
    frame = _Frame(start, (end - start) or 1.0, top)
    body = _grid(frame, plot, step) + "".join(_path(frame, plot, line) for line in plot.lines) + _hovers(frame, plot)
    keys = "".join(
        f'<span><i class="{line.colour}"></i>{escape(line.name)}'
        f"<b>{escape(plot.shown(max(line.values, default=0.0)))}</b></span>"
        for line in plot.lines
    )
    title = escape(plot.title)
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{body}</svg>'
    return f"<figure><figcaption><h2>{title}</h2><p>{keys}</p></figcaption>{svg}</figure>"


@dataclass(frozen=True)
class _Frame:
    start: float
    span: float
    top: float

    def x(self, at: float) -> float:
        return LEFT + (at - self.start) / self.span * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below ``least``."""
    power = 1.0
    while power > least:
        power /= 10
    while power * 10 <= least:
        power *= 10
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least * 0.999_999)


def time_ticks(start_s: float, span_s: float) -> list[tuple[float, str]]:
    """Round moments of a span, counted from its start, in the unit that suits it."""
    wanted = span_s / _X_TICKS
    found = next(((step, unit, word) for step, unit, word in _TIME_STEPS if step >= wanted), None)
    step, unit, word = found or (nice_step(wanted / 86_400) * 86_400, 86_400, "d")
    count = int(span_s / step + 1e-9)
    return [(start_s + number * step, f"{number * step / unit:g} {word}") for number in range(count + 1)]


def _grid(frame: _Frame, plot: Plot, step: float) -> str:
    bottom = HEIGHT - BOTTOM
    drawn = []
    for number in range(int(frame.top / step + 1e-9) + 1):
        y = frame.y(number * step)
        drawn.append(f'<path class="{"axis" if not number else "grid"}" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        words = escape(plot.shown(number * step))
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{words}</text>')
    for at, words in plot.ticks if plot.ticks is not None else time_ticks(frame.start, frame.span):
        x = frame.x(at)
        anchor = "end" if x > WIDTH - RIGHT - 20 else "middle"
        drawn.append(f'<path class="axis" d="M{x:.1f} {bottom}v4"/>')
        drawn.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{escape(words)}</text>')
    return "".join(drawn)


def _path(frame: _Frame, plot: Plot, line: Line) -> str:
    points = [(frame.x(at), frame.y(value)) for at, value in zip(plot.at, line.values, strict=True)]
    if not points:
        return ""
    if plot.stepped:
        drawn = "".join(f"{'H' if n else 'M'}{x:.1f}{' V' if n else ' '}{y:.1f}" for n, (x, y) in enumerate(points))
    else:
        drawn = "".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(points))
    area = f"{drawn}V{HEIGHT - BOTTOM}H{points[0][0]:.1f}Z"
    return f'<path class="area {line.colour}" d="{area}"/><path class="line {line.colour}" d="{drawn}"/>'


def _hovers(frame: _Frame, plot: Plot) -> str:
    """Columns that show their values when the pointer rests on them."""
    if not plot.at:
        return ""
    width = (WIDTH - LEFT - RIGHT) / _HOVERS
    found, at = [], 0
    for number in range(_HOVERS):
        place = frame.start + (number + 0.5) / _HOVERS * frame.span
        while at + 1 < len(plot.at) and plot.at[at + 1] <= place:
            at += 1
        values = ", ".join(f"{line.name} {plot.shown(line.values[at])}" for line in plot.lines)
        x = LEFT + number * width
        found.append(
            f'<rect class="hover" x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - TOP - BOTTOM}">'
            f"<title>{escape(_place_words(plot, frame, place))}: {escape(values)}</title></rect>"
        )
    return "".join(found)


def _place_words(plot: Plot, frame: _Frame, place: float) -> str:
    if plot.ticks is not None:
        return f"{(place - frame.start) / frame.span:.0%}"
    since_s = place - frame.start
    unit, word = next(((u, w) for u, w in ((86_400, "d"), (3600, "h"), (60, "min")) if since_s >= 2 * u), (1, "s"))
    return f"{since_s / unit:.1f} {word}"
