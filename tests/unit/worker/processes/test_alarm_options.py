"""Settings on their way into the rules."""

from datetime import UTC, datetime

import pytest

from worker.processes.alarm_options import limits
from worker.settings import Settings


@pytest.mark.parametrize(("alarm", "reserve", "expected"), [(4096, 1024, 4096), (4096, 10240, 10240)])
def test_below_the_reserve_there_is_always_an_alarm(alarm: int, reserve: int, expected: int) -> None:
    settings = Settings(alarm_spool_mib=alarm, spool_reserve_mib=reserve)
    assert limits(settings, datetime.now(UTC)).spool_mib == expected
