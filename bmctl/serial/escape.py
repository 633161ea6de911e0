"""The keys that leave the console: ``~.`` at the start of a line, as in ssh, and Ctrl-]."""

from dataclasses import dataclass

CTRL_BRACKET = 0x1D
ESCAPE = 0x1B
BRACKET = ord("[")
CURSOR_REPORT = ord("R")
TILDE = ord("~")
DOT = ord(".")
QUESTION = ord("?")
LINE_ENDS = (ord("\r"), ord("\n"))


@dataclass(frozen=True)
class Typed:
    """What keys mean.

    Attributes:
        data: bytes for the machine.
        leave: whether the user leaves; what was typed after it is dropped.
        asked: whether the user asked for the keys (``~?``).
    """

    data: bytes
    leave: bool = False
    asked: bool = False


class EscapeReader:
    """Tells keys for the machine from keys for the console.

    ``~~`` at the start of a line sends one ``~``; a ``~`` elsewhere is just a ``~``. Shells ask the terminal where its
    cursor is, and the answer (``ESC [ row ; column R``) comes in like keys: it leaves the start of a line what it is.
    """

    def __init__(self) -> None:
        self._line_start = True
        self._tilde = False
        self._sequence = b""

    def feed(self, keys: bytes) -> Typed:
        """What the next keys mean; a lone ``~`` at the start of a line waits for the key after it."""
        data = bytearray()
        asked = False
        for key in keys:
            if self._in_sequence(key):
                data.append(key)
                continue
            if key == CTRL_BRACKET:
                return Typed(bytes(data), leave=True, asked=asked)
            if self._tilde:
                self._tilde = False
                if key == DOT:
                    return Typed(bytes(data), leave=True, asked=asked)
                if key == QUESTION:
                    asked = True
                    continue
                if key != TILDE:
                    data.append(TILDE)
            elif key == TILDE and self._line_start:
                self._tilde = True
                continue
            data.append(key)
            self._line_start = key in LINE_ENDS
        return Typed(bytes(data), asked=asked)

    def _in_sequence(self, key: int) -> bool:
        """Whether a key belongs to a control sequence; any but a cursor report ends the start of a line."""
        if not self._sequence:
            if key != ESCAPE or self._tilde:
                return False
            self._sequence = bytes([key])
            return True
        if self._sequence == bytes([ESCAPE]) and key != BRACKET:
            self._sequence = b""
            self._line_start = False
            return False
        ended = self._sequence[-1] != ESCAPE and 0x40 <= key <= 0x7E
        if ended:
            self._line_start = self._line_start and key == CURSOR_REPORT
        self._sequence = b"" if ended else self._sequence + bytes([key])
        return True
