"""The plan of a node's CPUs on a terminal: a letter and a colour for every holder."""

from collections.abc import Iterator
from string import ascii_lowercase, ascii_uppercase

from rich.text import Text

from bmctl.commands.cpu.floor import Core, Floor, Thread
from bmctl.commands.cpu.service import Use
from bmctl.units import size

LETTERS = ascii_uppercase + ascii_lowercase
COLOURS = ("blue", "magenta", "cyan", "yellow", "red", "green")
SHARED, RESERVED, CROWD = "·", "x", "#"
LABEL = 10


def lines(floor: Floor, width: int) -> Iterator[Text]:
    """The plan, at most `width` wide where cores fit at all."""
    marks = {name: LETTERS[at] if at < len(LETTERS) else CROWD for at, name in enumerate(floor.holders)}
    styles = {name: f"bold white on {COLOURS[at % len(COLOURS)]}" for at, name in enumerate(floor.holders)}
    yield Text.assemble((floor.node, "bold"), f"  {floor.mode}")
    numas = [numa for socket in floor.sockets for numa in socket.numas]
    digits = max((len(str(one.cpu)) for numa in numas for core in numa.cores for one in core.threads), default=1)
    for socket in floor.sockets:
        yield Text(f"socket {socket.socket}", style="bold")
        for numa in socket.numas:
            yield from _numa(f"  numa {numa.numa}", list(numa.cores), (marks, styles), digits, width)
    yield Text("")
    yield from _legend(floor, marks, styles)


def _numa(
    label: str, cores: list[Core], looks: tuple[dict[str, str], dict[str, str]], digits: int, width: int
) -> Iterator[Text]:
    marks, styles = looks
    threads = max((len(core.threads) for core in cores), default=1)
    cell = threads * (digits + 2) + 2
    per_line = max(1, (width - LABEL) // cell)
    for start in range(0, len(cores), per_line):
        line = Text((label if start == 0 else "").ljust(LABEL), no_wrap=True)
        for core in cores[start : start + per_line]:
            line.append("[", style="dim")
            for thread in core.threads:
                line.append(_mark(thread, marks) + str(thread.cpu).rjust(digits), style=_style(thread, styles))
                line.append(" " if thread is not core.threads[-1] else "")
            line.append("] ", style="dim")
        line.rstrip()
        yield line


def _mark(thread: Thread, marks: dict[str, str]) -> str:
    if thread.use is Use.RESERVED:
        return RESERVED
    return marks.get(thread.holder, SHARED)


def _style(thread: Thread, styles: dict[str, str]) -> str:
    if thread.use is Use.RESERVED:
        return "dim"
    return styles.get(thread.holder, "green")


def _legend(floor: Floor, marks: dict[str, str], styles: dict[str, str]) -> Iterator[Text]:
    for name, cpus in floor.holders.items():
        lifted = " (lifted: on the shared pool, too)" if name in floor.guests else ""
        yield Text.assemble((marks[name], styles[name]), f" {name}  CPU {cpus}{lifted}")
    guests = [name for name in floor.guests if name not in floor.holders]
    words = f"  {', '.join(guests)}" if guests else ""
    yield Text.assemble((SHARED, "green"), f" shared pool  CPU {floor.shared or 'none'}{words}")
    yield Text.assemble((RESERVED, "dim"), f" reserved  CPU {floor.reserved or 'none'}")
    yield Text(
        f"room for {floor.exclusive_room} exclusive or {floor.shared_room} shared CPUs, "
        f"{size(floor.memory_room_bytes)} of memory"
    )
