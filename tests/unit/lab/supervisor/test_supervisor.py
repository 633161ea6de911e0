"""The supervisor runs real, small processes."""

import asyncio
import signal
from pathlib import Path

import msgspec

from lab.processes import birth_of
from lab.supervisor.control import Request, Verb
from lab.supervisor.unit import Listener, ReadyWhen, Unit, UnitState
from tests.fakes.ports import free_port
from tests.unit.lab.supervisor.conftest import Run, eventually, python, status

SLEEP = "time.sleep(60)"


async def test_a_process_is_ready_when_it_says_so(run: Run) -> None:
    supervisor = run(python("a", SLEEP))
    answer = await supervisor.answer(Request(Verb.READY, timeout_s=20))
    assert answer.error == ""
    assert [(unit.state, unit.message) for unit in answer.units] == [(UnitState.READY, "at work")]


async def test_a_process_that_never_says_so_is_named(run: Run) -> None:
    supervisor = run(Unit("mute", ("sleep", "60"), ready=ReadyWhen.NOTIFIED))
    answer = await supervisor.answer(Request(Verb.READY, timeout_s=0.05))
    assert answer.error.startswith("mute is starting")


async def test_a_start_that_takes_too_long_is_killed_and_tried_again(run: Run) -> None:
    supervisor = run(Unit("mute", ("sleep", "60"), ready=ReadyWhen.NOTIFIED, ready_timeout_s=0.05))
    await eventually(lambda: status(supervisor, "mute").starts > 2)


async def test_a_killed_process_is_started_again_under_another_id(run: Run) -> None:
    supervisor = run(python("a", SLEEP))
    await supervisor.answer(Request(Verb.READY, timeout_s=20))
    first = status(supervisor, "a").pid
    answer = await supervisor.answer(Request(Verb.SIGNAL, unit="a", number=signal.SIGKILL))
    assert answer.error == ""
    await eventually(lambda: status(supervisor, "a").starts == 2 and status(supervisor, "a").state is UnitState.READY)
    assert status(supervisor, "a").pid != first


async def test_a_path_shows_readiness_and_a_stale_one_does_not(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    path.touch()
    script = f"sleep 0.2; echo new > {path}; sleep 60"
    unit = Unit("a", ("sh", "-c", script), ready=ReadyWhen.PATH, ready_path=str(path), stale=(str(path),))
    supervisor = run(unit)
    await supervisor.answer(Request(Verb.READY, timeout_s=20))
    await eventually(lambda: path.read_text() == "new\n")


async def test_units_start_after_those_they_need(run: Run) -> None:
    supervisor = run(python("second", SLEEP, after=("first",)), python("first", "time.sleep(60)"))
    assert status(supervisor, "second").state is UnitState.WAITING
    await supervisor.answer(Request(Verb.READY, timeout_s=20))
    births = [birth_of(status(supervisor, name).pid) for name in ("first", "second")]
    assert births[0] is not None
    assert births[1] is not None
    assert births[0].pid != births[1].pid
    assert births[0].ticks <= births[1].ticks


async def test_units_stop_before_those_they_need(run: Run, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    code = f"""
import signal
def end(*_):
    open({str(trace)!r}, "a").write(sys.argv[1] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
say("STATUS=armed")
time.sleep(60)
"""
    first, second = python("first", code), python("second", code, after=("first",))
    supervisor = run(*(msgspec.structs.replace(unit, argv=(*unit.argv, unit.name)) for unit in (first, second)))
    await eventually(lambda: all(status(supervisor, name).message == "armed" for name in ("first", "second")))
    answer = await supervisor.answer(Request(Verb.STOP))
    assert {unit.state for unit in answer.units} == {UnitState.STOPPED}
    assert trace.read_text().split() == ["second", "first"]


async def test_who_ignores_sigterm_is_killed(run: Run, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    unit = Unit("deaf", ("sh", "-c", "trap '' TERM; : > $0; while :; do sleep 1; done", str(deaf)), stop_timeout_s=0.2)
    supervisor = run(unit)
    await eventually(deaf.exists)
    await supervisor.stop()
    assert status(supervisor, "deaf").message == "killed by SIGKILL"


async def test_a_silent_process_is_killed_by_the_watchdog(run: Run) -> None:
    supervisor = run(python("quiet", SLEEP, watchdog_s=0.2))
    await eventually(lambda: status(supervisor, "quiet").starts > 1)


async def test_a_process_that_gives_signs_of_life_is_left_alone(run: Run) -> None:
    code = """
assert os.environ["WATCHDOG_USEC"] == "2000000"
while True:
    say("WATCHDOG=1\\nSTATUS=beat")
    time.sleep(0.05)
"""
    supervisor = run(python("lively", code, watchdog_s=2.0))
    await eventually(lambda: status(supervisor, "lively").message == "beat")
    await asyncio.sleep(0.3)
    assert status(supervisor, "lively").starts == 1


async def test_a_passed_socket_keeps_clients_waiting_while_the_process_restarts(run: Run) -> None:
    port = free_port()
    code = """
assert os.environ["LISTEN_PID"] == str(os.getpid()) and os.environ["LISTEN_FDS"] == "1", os.environ
assert os.environ["LISTEN_FDNAMES"] == "api"
listener = socket.socket(fileno=3)
while True:
    client, _ = listener.accept()
    client.sendall(str(os.getpid()).encode())
    client.close()
"""
    supervisor = run(python("api", code, listeners=(Listener("api", "127.0.0.1", port),)))

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        said = await reader.read()
        writer.close()
        return said

    first = await ask()
    await supervisor.answer(Request(Verb.SIGNAL, unit="api", number=signal.SIGKILL))
    await eventually(lambda: status(supervisor, "api").pid != int(first))
    second = await ask()
    assert int(first) != int(second)


async def test_a_program_that_is_not_there_is_said_and_tried_again(run: Run) -> None:
    supervisor = run(Unit("ghost", ("/no/such/program",)))
    await eventually(lambda: status(supervisor, "ghost").starts > 1)
    assert "cannot be started" in status(supervisor, "ghost").message


async def test_an_unknown_unit_is_answered_with_the_known_ones(run: Run) -> None:
    supervisor = run(python("a", SLEEP))
    answer = await supervisor.answer(Request(Verb.RESTART, unit="b"))
    assert answer.error == "there is no unit b; there are: a"


async def test_the_living_are_written_down_for_a_successor(run: Run, tmp_path: Path) -> None:
    supervisor = run(python("a", SLEEP))
    await supervisor.answer(Request(Verb.READY, timeout_s=20))
    assert str(status(supervisor, "a").pid) in (tmp_path / "run" / "units.pids").read_text()


async def test_output_goes_to_the_units_own_log(run: Run, tmp_path: Path) -> None:
    supervisor = run(python("a", 'print("out", flush=True); print("err", file=sys.stderr, flush=True); time.sleep(60)'))
    await eventually((tmp_path / "logs" / "a.log").exists)
    await eventually(lambda: (tmp_path / "logs" / "a.log").read_text() == "out\nerr\n")
    assert status(supervisor, "a").log == str(tmp_path / "logs" / "a.log")
