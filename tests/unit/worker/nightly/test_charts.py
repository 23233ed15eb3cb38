"""The figures of the nightly report: what stands at their axes."""

from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from model.pages.svg import Chart
from tests import days
from tests.night_reports import SENDER, drift_test
from worker.monitoring.drift_result import DriftResult
from worker.nightly.films import Distribution, Hour
from worker.nightly.page import charts, drift_charts


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures, in place of the bytes that become of them."""
    figures: list[Figure] = []

    def keep(figure: Figure, alt: str) -> Chart:
        figure.draw_without_rendering()
        figures.append(figure)
        return Chart(svg=b"", alt=alt)

    monkeypatch.setattr(charts, "chart", keep)
    return figures


def test_films_are_counted_in_whole_numbers(drawn: list[Figure]) -> None:
    charts.hours([Hour(hour=f"{hour:02}:00", received=hour == 9, scored=0, seconds=None) for hour in range(24)])
    charts.ends([replace(SENDER, received=1, scored=1)])
    hours, ends = drawn
    for ticks in (hours.axes[0].get_yticks(), ends.axes[0].get_xticks()):
        assert len(ticks) > 1
        assert all(float(tick).is_integer() for tick in ticks)


def test_a_threshold_has_three_digits(drawn: list[Figure]) -> None:
    """A finding may be flagged from 0.035."""
    spread = Distribution(finding="covid19", counts=(3, 0, 0, 1), operating_points=(0.035,))
    assert "flagged from 0.035." in charts.scores([spread]).alt
    assert "flag from 0.035" in {text.get_text() for text in drawn[0].axes[0].texts}


def test_the_same_numbers_draw_the_same_bytes() -> None:
    test = drift_test("CR1", moved=True, psi=3.0, note="drift")
    result = DriftResult(tests=(test,), untested=(), frozen=(), options=days.DRIFT)
    assert drift_charts.heat_map(result).svg == drift_charts.heat_map(result).svg
