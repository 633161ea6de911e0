"""Loggers of modules outlive a test; what it had them write to does not."""

import io

import structlog


def test_a_logger_does_not_keep_the_stream_of_a_program_that_ran_within_a_test() -> None:
    log, before, closed = structlog.get_logger("tests"), structlog.get_config(), io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(closed), cache_logger_on_first_use=True)
    log.info("while the program ran")
    assert "while the program ran" in closed.getvalue()
    closed.close()
    structlog.configure(**before)
    log.info("afterwards")
