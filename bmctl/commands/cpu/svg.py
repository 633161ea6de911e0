"""The plan of a node's CPUs as one SVG file that needs nothing else; it follows the viewer's light or dark theme."""

from collections.abc import Iterator
from html import escape

from bmctl.commands.cpu.floor import Core, Floor, Socket, Thread
from bmctl.commands.cpu.service import Use
from bmctl.units import size

PALETTE = ("#2563eb", "#c026d3", "#0891b2", "#d97706", "#dc2626", "#4d7c0f", "#7c3aed", "#be185d")
SIDE, GAP, PAD, HEAD, LINE = 30, 4, 12, 26, 22
PER_ROW = 16
"""Cores side by side."""
STYLE = """
text{font:12px system-ui,sans-serif;fill:#1f2937}.t{font-size:16px;font-weight:600}.s{font-weight:600}
.n{fill:#fff;text-anchor:middle}.box{fill:none;stroke:#9ca3af}.numa{fill:#f3f4f6}.core{fill:#d1d5db}
.shared{fill:#15803d}.reserved{fill:#6b7280}.paper{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#e5e7eb}.n{fill:#fff}.numa{fill:#1f2937}.core{fill:#4b5563}.paper{fill:#111827}}
"""


def picture(floor: Floor) -> str:
    """The whole file."""
    colours = {name: PALETTE[at % len(PALETTE)] for at, name in enumerate(floor.holders)}
    parts: list[str] = []
    top, width = PAD + LINE + 6, 420
    for socket in floor.sockets:
        drawn, height, wide = _socket(socket, colours, top)
        parts += drawn
        top += height + PAD
        width = max(width, wide + 2 * PAD)
    legend = list(_legend(floor, colours, top + 4))
    names = max((len(text) for _, text in _words(floor)), default=0)
    width, height = max(width, 2 * PAD + 24 + 7 * names), top + LINE * (len(legend) + 1)
    title = f"CPUs of {floor.node}"
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
            ),
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            f'<rect class="paper" width="{width}" height="{height}"/>',
            f'<text class="t" x="{PAD}" y="{PAD + 14}">{escape(floor.node)} · {escape(floor.mode)}</text>',
            *parts,
            *legend,
            "</svg>",
        ]
    )


def _socket(socket: Socket, colours: dict[str, str], top: int) -> tuple[list[str], int, int]:
    """Its drawing, height and width."""
    y, wide, inner = top + HEAD, 0, []
    for numa in socket.numas:
        rows = [list(numa.cores[at : at + PER_ROW]) for at in range(0, len(numa.cores), PER_ROW)]
        deep = max((len(core.threads) for core in numa.cores), default=1)
        tall = deep * (SIDE + 2) + 2 + GAP
        across = max((len(row) for row in rows), default=0) * (SIDE + GAP + 4) + GAP
        height = HEAD + tall * len(rows)
        inner.append(f'<rect class="numa" x="{2 * PAD}" y="{y}" width="{across}" height="{height}" rx="6"/>')
        inner.append(f'<text x="{2 * PAD + 6}" y="{y + 17}">NUMA node {numa.numa}</text>')
        for line, row in enumerate(rows):
            for at, core in enumerate(row):
                inner += _core(core, colours, 2 * PAD + GAP + at * (SIDE + GAP + 4), y + HEAD + line * tall - 2)
        y, wide = y + height + GAP * 2, max(wide, across)
    width = max(wide, 120) + 2 * PAD
    box = f'<rect class="box" x="{PAD}" y="{top}" width="{width}" height="{y - top}" rx="8"/>'
    return [box, f'<text class="s" x="{PAD + 8}" y="{top + 18}">Socket {socket.socket}</text>', *inner], y - top, width


def _core(core: Core, colours: dict[str, str], x: int, y: int) -> Iterator[str]:
    height = len(core.threads) * (SIDE + 2) + 2
    yield f'<rect class="core" x="{x}" y="{y}" width="{SIDE + 4}" height="{height}" rx="4"/>'
    for at, thread in enumerate(core.threads):
        ty = y + 2 + at * (SIDE + 2)
        who = thread.holder or ("shared pool" if thread.use is Use.SHARED else thread.use.value)
        yield f"<g><title>CPU {thread.cpu}, core {core.core}: {escape(who)}</title>"
        yield f'<rect {_fill(thread, colours)} x="{x + 2}" y="{ty}" width="{SIDE}" height="{SIDE}" rx="3"/>'
        yield f'<text class="n" x="{x + 2 + SIDE // 2}" y="{ty + 20}">{thread.cpu}</text></g>'


def _fill(thread: Thread, colours: dict[str, str]) -> str:
    if thread.holder in colours:
        return f'fill="{colours[thread.holder]}"'
    return f'class="{Use.RESERVED.value if thread.use is Use.RESERVED else Use.SHARED.value}"'


def _words(floor: Floor) -> Iterator[tuple[str, str]]:
    """Holder or use, and the sentence of the legend."""
    for name, cpus in floor.holders.items():
        yield name, f"{name}: CPU {cpus}" + (" and the shared pool (lifted)" if name in floor.guests else "")
    guests = ", ".join(name for name in floor.guests if name not in floor.holders)
    yield "", f"shared pool: CPU {floor.shared or 'none'}" + (f" for {guests}" if guests else "")
    yield Use.RESERVED.value, f"reserved: CPU {floor.reserved or 'none'}"


def _legend(floor: Floor, colours: dict[str, str], top: int) -> Iterator[str]:
    y = top
    for key, text in _words(floor):
        use = Use.RESERVED.value if key == Use.RESERVED.value else Use.SHARED.value
        fill = f'fill="{colours[key]}"' if key in colours else f'class="{use}"'
        yield (
            f'<rect {fill} x="{PAD}" y="{y}" width="14" height="14" rx="3"/>'
            f'<text x="{PAD + 22}" y="{y + 11}">{escape(text)}</text>'
        )
        y += LINE
    yield (
        f'<text x="{PAD}" y="{y + 11}">Room for {floor.exclusive_room} exclusive or {floor.shared_room} shared CPUs, '
        f"{size(floor.memory_room_bytes)} of memory</text>"
    )
