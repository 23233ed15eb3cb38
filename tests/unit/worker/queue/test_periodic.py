"""The relay's other tasks: each in its own thread, none in another's way."""

import logging
import threading

import pytest
from sqlalchemy.exc import OperationalError

from tests.services import wait_until
from worker.queue import periodic
from worker.queue.periodic import Periodic


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("film of SECRET"), "ValueError"),
        (OperationalError("SELECT", {}, Exception("SECRET")), "it refused (OperationalError)"),
        (OperationalError("SELECT", {}, Exception("SECRET: database is locked")), "others held a lock for too long"),
    ],
)
def test_a_failing_task_is_tried_again_and_stops_no_other(
    error: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    stop, runs = threading.Event(), {"good": 0, "bad": 0}

    def good() -> None:
        runs["good"] += 1

    def bad() -> None:
        runs["bad"] += 1
        raise error

    with caplog.at_level(logging.WARNING, "xrayq.relay"):
        periodic.start(
            [Periodic(name="good", seconds=0.01, run=good), Periodic(name="bad", seconds=0.01, run=bad)], stop
        )
        wait_until(lambda: min(runs.values()) >= 3)
        stop.set()
    said = caplog.records[0]
    assert (said.__dict__["action"], said.__dict__["reason"]) == ("bad", reason)
    assert "SECRET" not in caplog.text


def test_nothing_runs_after_the_stop() -> None:
    stop, runs = threading.Event(), []
    running = {thread.name for thread in threading.enumerate()}
    periodic.start([Periodic(name="counted", seconds=60, run=lambda: runs.append(1))], stop)
    wait_until(lambda: runs)
    stop.set()
    wait_until(lambda: "counted" not in {thread.name for thread in threading.enumerate()} - running)
    assert runs == [1]
