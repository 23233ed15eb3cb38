"""The report of a night as JSON."""

import json
from dataclasses import replace

from model.json_value import plain
from tests.night_reports import GOOD, SENDER
from worker.nightly.films import Percentiles
from worker.nightly.page import day


def test_a_sender_says_what_is_not_accounted_for() -> None:
    assert plain(SENDER)["difference"] == 0


def test_a_percentile_without_an_end_is_null() -> None:
    assert plain(Percentiles(p50=1.5, p95=float("inf"), p99=float("inf"))) == {"p50": 1.5, "p95": None, "p99": None}


def test_a_whole_report_is_json() -> None:
    found = GOOD.as_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found)[:3] == ["date", "zone", "start"]
    assert (found["date"], found["zone"], found["start"]) == (
        "2026-11-20",
        "Europe/Berlin",
        "2026-11-20T00:00:00+00:00",
    )


def test_the_page_counts_studies_by_outcome() -> None:
    page = "".join(day.flags(replace(GOOD, studies={"flagged": 2, "no_flag": 1200})))
    assert "Studies whose first object came on the day: 1,202; by outcome: flagged 2, no flag 1,200." in page
    assert "Studies" not in "".join(day.flags(GOOD))
