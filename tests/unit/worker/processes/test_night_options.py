"""Settings on their way into the night."""

import pytest

from worker.processes.night_options import night_plan
from worker.settings import Settings


def test_no_alarm_silences_an_ae_unless_the_site_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert night_plan(Settings()).silence_on == ()
    monkeypatch.setenv("XRAYQ_SILENCE_ON", "drift, performance")
    assert night_plan(Settings()).silence_on == ("drift", "performance")
