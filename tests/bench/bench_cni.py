"""What the CNI executable costs a container's start, beside an interpreter that does nothing.

Run as ``python -m pytest tests/bench/bench_cni.py -s``; prints medians and their ratio, asserts nothing about time.
Both are measured in turns, so that a busy machine is busy for both.
"""

import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

pytestmark = pytest.mark.bench

ROUNDS = 100
RESULT = b'{"cniVersion":"1.0.0","interfaces":[]}'
ANSWER = b"dpucni1\n" + (0).to_bytes(4, "big") + len(RESULT).to_bytes(4, "big") + RESULT
ROOT = Path(__file__).resolve().parents[2]
NOTHING = ("/usr/bin/python3", "-I", "-S", "-E", "-c", "pass")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    """A socket whose server answers at once, in this process."""
    path = tmp_path / "cni.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_serve, args=(listener,))
        thread.start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            call, _ = listener.accept()
        except OSError:
            return
        with call:
            call.recv(1 << 16)
            call.sendall(ANSWER)


def test_a_call_costs_little_more_than_an_interpreter(daemon: Path, tmp_path: Path) -> None:
    executable = tmp_path / "dpu-cni"
    subprocess.run([sys.executable, ROOT / "packaging" / "cni" / "bundle.py", executable], check=True)
    environment = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c", "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/netns/c"}
    environment["DPUPOOL_CNI_SOCKET"] = str(daemon)
    config = tmp_path / "config"
    config.write_bytes(b'{"cniVersion":"1.0.0","name":"pods","type":"dpu-cni"}')
    ours: list[float] = []
    nothing: list[float] = []
    for _ in range(ROUNDS):
        nothing.append(_spent_ms(NOTHING, {}, config))
        ours.append(_spent_ms((str(executable),), environment, config))
    mine, bare = statistics.median(ours), statistics.median(nothing)
    Console(width=160).print(
        f"dpu-cni ADD: median {mine:.1f} ms (least {min(ours):.1f}), python3 -I -S -E -c pass: {bare:.1f} ms "
        f"(least {min(nothing):.1f}); {mine / bare:.2f} times as long, {mine - bare:.1f} ms more"
    )
    assert len(ours) == ROUNDS


def _spent_ms(command: tuple[str, ...], environment: dict[str, str], config: Path) -> float:
    """Start, wait for the end; a call that fails is no measurement."""
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, str(config), os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    begun = time.perf_counter()
    process = os.posix_spawn(command[0], command, environment, file_actions=streams)
    _, status = os.waitpid(process, 0)
    spent = (time.perf_counter() - begun) * 1000
    assert status == 0
    return spent
