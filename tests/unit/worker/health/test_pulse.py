"""When a worker is taken for stalled, and when it is not."""

import threading
from collections.abc import Callable

import pytest

from tests.services import wait_until
from worker.errors import PublishError, Unhealthy
from worker.health.pulse import LONGEST_SILENCE, Pulse, watch

STALL = 0.1


@pytest.fixture
def pulse() -> Pulse:
    return Pulse(stall_seconds=STALL, longest_task=60)


def taken() -> None:
    """Redis takes the probe, and nobody brings it."""


def away() -> None:
    raise PublishError("ConnectionError")


def soon_stalled(pulse: Pulse, probe: Callable[[], None]) -> None:
    wait_until(lambda: pulse.stalled(probe), 5, "a stall")


def test_it_starts_and_consumes(pulse: Pulse) -> None:
    assert pulse.watched() == "starting"
    with pytest.raises(Unhealthy, match="starting"):
        pulse.consuming()
    pulse.seen()
    assert pulse.consuming() == "consumed 0 s ago"


def test_nothing_from_the_start_on_is_a_stall(pulse: Pulse) -> None:
    assert not pulse.stalled(taken)
    soon_stalled(pulse, taken)


def test_unready_and_then_a_stall_and_ready_again(pulse: Pulse) -> None:
    pulse.seen()
    assert not pulse.stalled(taken)
    soon_stalled(pulse, taken)
    with pytest.raises(Unhealthy, match=r"nothing consumed for 0 s$"):
        pulse.consuming()
    assert pulse.watched() == "the watch turned 0 s ago"
    pulse.seen()
    assert not pulse.stalled(taken)
    assert pulse.consuming()


def test_while_redis_is_away_it_waits_and_then_has_the_whole_time(pulse: Pulse) -> None:
    pulse.seen()
    wait_until(lambda: pulse.stalled(away) or (pulse.silence or 0) > 2 * STALL, 5)
    assert not pulse.stalled(away)
    with pytest.raises(Unhealthy, match="Redis takes no message"):
        pulse.consuming()
    assert not pulse.stalled(taken)
    soon_stalled(pulse, taken)


def test_every_thread_in_a_task_is_work_and_one_that_is_free_must_probe(pulse: Pulse) -> None:
    pulse.threads = 2
    begun, end = threading.Barrier(3), threading.Event()

    def score(_: object) -> None:
        begun.wait(30)
        end.wait(30)

    threads = [threading.Thread(target=pulse.around(score), args=(None,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.wait(30)
    assert pulse.busy
    assert pulse.silence == 0.0
    assert not pulse.stalled(taken)
    pulse.threads = 3
    assert not pulse.busy
    soon_stalled(pulse, taken)
    end.set()
    for thread in threads:
        thread.join()
    assert not pulse.stalled(taken), "the end of a task is a sign of life"


def test_a_task_that_lost_its_leases_is_no_work() -> None:
    pulse = Pulse(stall_seconds=STALL, longest_task=STALL)
    with pulse.working():
        assert pulse.busy
        soon_stalled(pulse, taken)


def test_a_failing_task_is_over() -> None:
    pulse = Pulse(stall_seconds=STALL, longest_task=60)

    def fails(_: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        pulse.around(fails)(None)
    assert not pulse.busy


def test_it_is_unready_well_before_it_ends_itself() -> None:
    assert Pulse(stall_seconds=30, longest_task=60).longest_silence == LONGEST_SILENCE < 30


def test_a_machine_that_stood_still_has_the_whole_time_again(pulse: Pulse) -> None:
    """As after `docker pause`, or while Redis lets a probe wait: time in which nobody could consume."""
    pulse.seen()
    assert not pulse.stalled(taken)
    nobody_ran = threading.Event()
    nobody_ran.wait(3 * STALL)
    assert not pulse.stalled(taken)

    def slow() -> None:
        nobody_ran.wait(3 * STALL)

    assert not pulse.stalled(slow)
    soon_stalled(pulse, taken)


def test_the_watch_outlives_a_probe_that_breaks() -> None:
    pulse, tried = Pulse(stall_seconds=60, longest_task=60), []
    pulse.longest_silence = 0.03

    def breaks() -> None:
        tried.append(1)
        if len(tried) < 4:
            raise ValueError

    watch(pulse, breaks)
    wait_until(lambda: len(tried) > 3, 5)
