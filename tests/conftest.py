"""What holds for every tier: logs stay off standard output, no example is too slow, and CI skips nothing."""

import os
import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

settings.register_profile(
    "unhurried", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("unhurried")  # here, for test modules take it when they are imported


def pytest_configure() -> None:
    """Send logs where pytest keeps what a test printed, as every program does that configures its own.

    Unconfigured, they go to whatever standard output is at that moment: a server that outlives its test, in a thread of
    its own, would write into the output of the command that the next test runs and reads. And no logger may keep what
    it was first used with: a program that ran within a test had a standard error that is closed when the next one logs.
    """
    configure = structlog.configure

    def configure_for_now(**settings: Any) -> None:
        configure(**settings | {"cache_logger_on_first_use": False})

    structlog.configure = configure_for_now  # type: ignore[assignment]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Undo what a program that ran within a test set up for its own log."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped in continuous integration, where nothing may be: {report.longrepr}"
    return report
