"""What the demo shows in a log and on a terminal."""

import io

import pytest
from rich.console import Console

from lab.demo.screen import Screen


def shown(*, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None, legacy_windows=False)
    with Screen(console) as screen:
        screen.chapter("Part one")
        with screen.step("lift") as step:
            step.detail = "lifted"
        late = screen.open("told from elsewhere")
        late.seconds = 7.25
        screen.close(late)
        screen.say("verdict")
        with pytest.raises(ValueError, match="stuck"), screen.step("push"):
            raise ValueError("stuck")
    return out.getvalue()


def test_a_log_has_one_line_per_step_in_order() -> None:
    lines = [line.rstrip() for line in shown(terminal=False).splitlines() if line.strip()]
    assert [line.split(" ")[0] for line in lines] == ["Part", "✓", "✓", "verdict", "✗"]
    assert "lift" in lines[1]
    assert lines[1].endswith("lifted")
    assert "7.25 s" in lines[2]


def test_a_terminal_ends_with_the_same_words() -> None:
    text = shown(terminal=True)
    for words in ("Part one", "lifted", "7.25 s", "verdict", "✗"):
        assert words in text
