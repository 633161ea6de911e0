"""A process that is held on to."""

import subprocess

from dpu_daemon.drivers.host_process import HostProcess


def test_a_process_lives_until_it_ends() -> None:
    host = HostProcess()
    assert not host.lives()
    with subprocess.Popen(["sleep", "60"]) as process:
        host.remember(process.pid)
        host.remember(process.pid)
        assert host.lives()
        process.kill()
    assert not host.lives()
    host.forget()


def test_one_that_is_gone_or_was_never_met_does_not_live() -> None:
    host = HostProcess()
    with subprocess.Popen(["true"]) as process:
        process.wait()
    host.remember(process.pid)
    assert not host.lives()
    host.remember(0)
    assert not host.lives()
