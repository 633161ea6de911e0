"""What is said of a path where a network namespace should be."""

import errno
import os
from pathlib import Path

import pytest

from dpu_daemon.drivers.netns import OWN, open_netns
from proto.errors import DpuError
from proto.reasons import Reason


def refused(path: str) -> DpuError:
    with pytest.raises(DpuError) as caught:
        open_netns(path)
    return caught.value


def test_a_namespace_is_held_by_its_number() -> None:
    with_fd = open_netns(OWN)
    assert with_fd.inode == os.stat(OWN).st_ino  # noqa: PTH116 - as the driver does
    with_fd.close()


def test_nothing_and_something_else_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert refused(str(tmp_path / "absent")).reason is Reason.NOT_FOUND
    assert refused(str(tmp_path / "plain")).reason is Reason.NOT_FOUND
    assert refused(str(tmp_path)).reason is Reason.INVALID


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EMFILE, Reason.UNAVAILABLE),
        (errno.ENFILE, Reason.UNAVAILABLE),
        (errno.EACCES, Reason.FORBIDDEN),
        (errno.ELOOP, Reason.INVALID),
    ],
)
def test_what_cannot_be_opened_now_is_not_taken_for_gone(
    monkeypatch: pytest.MonkeyPatch, number: int, reason: Reason
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        error = refused(OWN)
    assert (error.reason, error.field) == (reason, "CNI_NETNS")
    assert error.remedy
