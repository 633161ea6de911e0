"""Processes recognised by their birth."""

import os
import subprocess
import sys

from lab.processes import Birth, birth_of, end, is_alive

IGNORES_TERM = (
    "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
)


def sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "60"])


def test_a_running_process_is_recognised() -> None:
    birth = birth_of(os.getpid())
    assert birth is not None
    assert is_alive(birth)


def test_another_process_with_the_same_id_is_not_it() -> None:
    birth = birth_of(os.getpid())
    assert birth is not None
    assert not is_alive(Birth(birth.pid, birth.ticks + 1))


def test_a_zombie_is_dead() -> None:
    child = sleeper()
    birth = birth_of(child.pid)
    assert birth is not None
    child.kill()
    assert end([birth]) in ([], [child.pid])
    assert not is_alive(birth)
    child.wait()


def test_ending_is_told_which_processes_were_still_there() -> None:
    child = sleeper()
    birth = birth_of(child.pid)
    assert birth is not None
    assert end([birth, Birth(1 << 22, 1)]) == [child.pid]
    assert child.wait() < 0


def test_who_ignores_sigterm_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", IGNORES_TERM], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        birth = birth_of(child.pid)
        assert birth is not None
        end([birth], grace_s=0.1)
        assert child.wait() == -9
