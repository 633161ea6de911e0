"""pyghmi's own management controller as a process of its own: `python -m tests.fakes.ipmi_server PORT PASSWORD`."""

import sys
from typing import Any

from pyghmi.ipmi.bmc import Bmc
from pyghmi.ipmi.private.serversession import ServerSession

SHA256 = 3
NO_SUCH_SUITE = 0x11
ANSWER = ServerSession.create_open_session_response


def answer(session: Any, request: Any) -> Any:
    """Refuse SHA-256 as controllers without cipher suite 17 do; pyghmi's own says yes and then speaks SHA-1."""
    made = ANSWER(session, request)
    return bytearray([request[0], NO_SUCH_SUITE, *made[2:12]]) if request[12] == SHA256 else made


ServerSession.create_open_session_response = answer


def say(word: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


class Server(Bmc):  # type: ignore[misc]  # pyghmi ships no types
    """A server that does as it is told, and prints it."""

    power = "off"

    def get_power_state(self) -> str:
        return self.power

    def power_on(self) -> int:
        return self._turn("on")

    def power_off(self) -> int:
        return self._turn("off")

    def power_shutdown(self) -> int:
        return self._turn("off", "shutdown")

    def get_boot_device(self) -> str:
        return "default"

    def set_boot_device(self, device: Any) -> int:
        say(f"boot {device}")
        return 0

    def _turn(self, power: str, word: str = "") -> int:
        self.power = power
        say(word or power)
        return 0


if __name__ == "__main__":
    server = Server({"admin": sys.argv[2]}, port=int(sys.argv[1]), address="127.0.0.1")
    say("ready")
    server.listen()
