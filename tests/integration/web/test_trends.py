"""Trends: the numbers of the reports, and of no report that was changed."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, update
from starlette.testclient import TestClient

from tests import golden
from tests.integration.monitoring.test_labels import film
from tests.integration.web.conftest import OneVisitor
from tests.integration.web.test_reading import drawn
from tests.nightly import recorded, sqlite
from worker.db.session import writing
from worker.db.tables import instance
from worker.nightly import published
from worker.web.app import application
from worker.web.site import Site

DAY = date(2026, 11, 20)


@sqlite
def test_charts_and_tables_have_what_the_reports_say(
    database: Engine, site: Site, doors: OneVisitor, tmp_path: Path
) -> None:
    written = json.loads((golden.FOLDER / "installation" / "night-report.json").read_text())
    for number in range(3):
        folder = published.folder_of(tmp_path, day := DAY + timedelta(days=number))
        folder.mkdir()
        report = written | {"date": day.isoformat(), "seconds": {"films": 3, "p50": 1.5 + number, "p95": None}}
        (folder / published.REPORT).write_text(json.dumps(report))
        digest = published.digest_of(folder)
        recorded(database, day, digest, {published.REPORT: digest})
    (folder / published.REPORT).write_text(json.dumps(written | {"date": day.isoformat()}))
    options = replace(site.options, reports=tmp_path)
    browser = TestClient(application(replace(site, options=options), doors))
    data = browser.get("/operations/trends.json?days=30").json()
    charts = {chart["id"]: {one["label"]: one for one in chart["series"]} for chart in data["charts"]}
    assert [data["days"][0], data["days"][1] - data["days"][0], len(data["days"])] == [1795132800, 86400, 2]
    assert charts["waiting"]["half"]["values"] == [1.5, 2.5]
    assert charts["waiting"]["95 %"]["values"] == [None, None]
    assert charts["flags"]["flagged"]["values"] == [written["flags"]["flagged"]] * 2
    assert charts["drift"]["CR_EMERGENCY"]["values"] == [3.2332] * 2, "brightness: 3.6446 less 0.4114"
    rate = charts["performance-not_normal"]["specificity, normal"]
    assert (rate["values"][0], rate["low"][0], rate["high"][0]) == (1.0, 0.7684, 1.0)
    page = browser.get("/operations/trends?days=30").text
    assert "Without 2026-11-22:" in page
    assert "0.768 to 1.000" in page
    key = film(database, uid="1.1", flags=("covid19",))
    with writing(database) as connection:
        connection.execute(update(instance).values(received_at=datetime(2026, 11, 20, 9, tzinfo=UTC)))
    drawn(database, [key])
    (flags,) = [one for one in browser.get("/operations/trends.json").json()["charts"] if one["id"] == "flags"]
    assert [one["values"][0] for one in flags["series"]] == [None, None]
    assert flags["series"][0]["values"][1] == written["flags"]["flagged"]
