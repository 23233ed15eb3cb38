"""The workload simulator at the web page. That its intervals cover is shown in tests/unit/model/stats."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime

from sqlalchemy import Engine, insert, select
from starlette.testclient import TestClient

from model import bundle as bundles
from model.stats.estimate import Estimate
from model.stats.site_day import FlagAt, SiteDay, site_days
from tests import days
from tests.nightly import sqlite
from worker.db.session import reading, writing
from worker.db.tables import instance, label_sample, truth
from worker.monitoring.labelled_scores import labelled_scores
from worker.web.before_go_live import CELLS, picture
from worker.web.labelled import Labelled
from worker.web.site import Site

ASKED = "/before-go-live?flag=covid19&threshold=0.3&prevalence=8&films=150"


def cells(page: str) -> list[str]:
    """Of the table: what stands in the chosen threshold's column."""
    rows = re.findall(r'<tr><th scope="row">[^<]+</th><td class="number">(.*?)</td>', page)
    return [re.sub("<[^>]+>", "", row) for row in rows]


def test_a_day_at_a_threshold_is_that_of_the_sites_labelled_films(
    browser: TestClient, database: Engine, site: Site
) -> None:
    assert "Nothing to foretell from yet" in browser.get(ASKED).text
    days.fill(database, date(2026, 11, 20), 150, shares=days.Shares(labelled=0.8), seed=3)
    object.__setattr__(site, "labelled", Labelled())
    page = browser.get(ASKED).text
    assert "Not a site" in page, "nobody drew these films"
    scores = labelled_scores(database, bundles.load(bundles.REFERENCE)).scores
    point = FlagAt(flag="covid19", threshold=0.3)
    (day,) = site_days(scores, [point], prevalences=[0.08], films_per_day=150).days
    assert day.flags.interval95
    assert day.missed.value is not None
    low, high = day.flags.interval95
    found = cells(page)
    assert found[0] == f"{day.flags.value:.1f} [{low:.0f} to {high:.0f}]"
    assert found[3].startswith(f"{day.missed.value:.1f} [")
    drawn = Counter(re.findall(r'<rect class="(\w+)" x="\d+" y="\d+" width="9" height="9" rx="2"/>', page))
    assert drawn.total() == 150 + 4, "and the key"
    shown = Counter(square.kind for square in picture(day, 150).squares)
    assert shown["missed"] + shown["hit"] == 12, "8 % of 150"


@sqlite
def test_labels_of_drawn_films_say_how_common_a_finding_is(browser: TestClient, database: Engine) -> None:
    keys = days.fill(database, date(2026, 11, 20), 60, shares=days.Shares(labelled=1.0), seed=3)
    with writing(database) as connection:
        at = datetime.now(UTC)
        rows = [{"draw": "one", "instance_id": key, "drawn_at": at} for key in keys]
        connection.execute(insert(label_sample), rows)
    with reading(database) as connection:
        of_film = truth.c.sop_instance_uid == instance.c.sop_instance_uid
        labels = list(connection.execute(select(truth.c.label).join(instance, of_film)).scalars())
    page = browser.get("/before-go-live?flag=pneumonia").text
    assert "Not a site" not in page
    share = 100 * labels.count("pneumonia") / len(labels)
    assert f'name="prevalence" type="number" min="0" max="100" step="0.1" value="{share:.1f}"' in page
    odd = browser.get("/before-go-live?flag=hernia&threshold=nan&prevalence=-3&films=1e9")
    assert odd.status_code == 200
    assert 'max="100" step="0.1" value="0' in odd.text
    assert browser.get("/before-go-live?device=room-7").status_code == 404


def test_a_missed_film_is_seen_among_thousands() -> None:
    none = Estimate(value=None, interval95=None)
    day = SiteDay(
        flag="covid19",
        threshold=0.5,
        prevalence=0.01,
        flags=replace(none, value=60.0),
        ppv=none,
        npv=none,
        missed=replace(none, value=0.9),
        normals_flagged=none,
        unsure=None,
    )
    shown = picture(day, 5000)
    assert len(shown.squares) <= CELLS + 1
    assert Counter(square.kind for square in shown.squares)["missed"] == 1
