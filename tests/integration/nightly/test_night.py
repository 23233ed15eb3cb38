"""A day's report on both databases: its values, its page and its files."""

import csv
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, delete, insert, update

from dicom_gateway.spool import Spool
from tests import days
from tests.integration.audit.test_reconciliation import ended, sent
from tests.services import typed_in
from worker.audit import trail
from worker.db import schema
from worker.db.session import make_engine, writing
from worker.db.span import Span
from worker.db.tables import audit_event, finding_score, instance, outbox, score
from worker.nightly import instances_csv
from worker.nightly.content import NightOptions, night_report
from worker.nightly.headline import faults, judge
from worker.nightly.page.page import render

ZONE = ZoneInfo("UTC")
NOON = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
DAY = NOON.date()
OPTIONS = NightOptions(zone=ZONE, drift=days.DRIFT)


@pytest.fixture
def films(database: Engine, spool: Spool, tmp_path: Path) -> list[int]:
    """Four films of one noon: two scored after 1 and 3 seconds, one of them flagged; one failed; one waiting."""
    keys = [sent(database, spool, tmp_path, f"film{number}") for number in range(4)]
    ended(database, keys[0], "scored")
    ended(database, keys[1], "scored")
    ended(database, keys[2], "failed", "corrupt_pixels")
    with writing(database) as connection:
        for number, key in enumerate(keys):
            took = timedelta(seconds=1 + 2 * number)
            values = {"received_at": NOON, "finished_at": NOON + took if number < 3 else None}
            connection.execute(update(instance).where(instance.c.id == key).values(**values))
        (number,) = connection.execute(score.select().where(score.c.instance_id == keys[1])).scalars()
        for key, sets in zip(keys, ([], ["pneumonia", "covid19"]), strict=False):
            connection.execute(update(score).where(score.c.instance_id == key).values(prediction_set=sets))
        rows = [{"score_id": number, "finding": name, "flag": name == "covid19"} for name in ("normal", "covid19")]
        connection.execute(insert(finding_score), [row | {"logit": 0.0, "probability": 0.5} for row in rows])
    return keys


def test_what_the_day_holds(database: Engine, films: list[int]) -> None:
    report = night_report(database, DAY, OPTIONS)
    found = report.as_dict()
    assert found["difference"] == 0
    assert found["hours"][12] == {
        "hour": "12:00",
        "received": 4,
        "scored": 2,
        "seconds": {"p50": 1.0, "p95": 3.0, "p99": 3.0},
    }
    assert found["seconds"] == {"films": 4, "p50": 3.0, "p95": None, "p99": None}  # one failed, one waits
    assert len(found["hours"]) == 24
    kinds = {"scored": 2, "flagged": 1, "unsure": 2, "flagged_and_unsure": 1, "neither": 0}
    assert found["flags"] == {
        "scored": 2,
        "flagged": 1,
        "unsure": 2,
        "neither": 0,
        "by_finding": {"covid19": 1},
        "by_sender": [{"calling_ae": "CR1"} | kinds],
    }
    assert found["flagged"] == [{"id": films[1], "calling_ae": "CR1", "flags": ["covid19"], "unsure": True}]
    assert found["unsure"] == films[:2]
    assert found["failed"] == [
        {"id": films[2], "calling_ae": "CR1", "reason": "corrupt_pixels", "received_at": "2026-11-20T12:30:00+00:00"}
    ]
    assert found["backlog"]["waiting"] == 1
    assert found["chain"]["whole"]
    assert faults(report) == []


def test_the_anchor_is_the_head_when_the_day_ended(database: Engine, films: list[int]) -> None:
    today = datetime.now(UTC).date()
    assert night_report(database, DAY, OPTIONS).chain.anchor is None
    head = trail.verify(database).head
    assert night_report(database, today, OPTIONS).chain.anchor == head


def test_rows_come_in_chunks_with_their_scores(
    database: Engine, films: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances_csv, "CHUNK", 3)
    rows = list(instances_csv.instances(database, Span.of_day(DAY, ZONE)))
    assert [row.id for row in rows] == films
    assert [row.flags for row in rows] == [None, ["covid19"], None, None]


def test_the_page_opens_without_a_network_and_says_its_figures(database: Engine, films: list[int]) -> None:
    page = render(night_report(database, DAY, OPTIONS)).html
    assert not re.search(r"https?://|src=\"(?!data:)|<script|<link", page)
    alts = re.findall(r'<img [^>]*alt="([^"]+)"', page)
    assert len(alts) == page.count("<img ") == 3
    assert "4 received, most at 12:00" in page
    assert "All 4 films that reached us accounted for; 2 things need a look" in page
    assert "of the 4 films to be scored: half 3 s, 95 % not reached, 99 % not reached." in page
    assert "<b>not reached</b><span>95 % scored within</span>" in page
    assert "not a medical device" in page
    assert "SECRET" not in page.upper()


def test_a_day_without_films_is_told(database: Engine) -> None:
    page = render(night_report(database, DAY, OPTIONS)).html
    assert "No film came on this day." in page


@pytest.fixture
def running(database: Engine, films: list[int]) -> ZoneInfo:
    """A zone whose day began six to seven hours ago; one film came an hour ago, two will come."""
    now = datetime.now(UTC)
    behind = (now.hour - 6 + 11) % 24 - 11  # of UTC, hours
    with writing(database) as connection:
        for key, hours in zip(films, (-1, 1, 2, -24), strict=True):
            values = {"received_at": now + timedelta(hours=hours)}
            connection.execute(update(instance).where(instance.c.id == key).values(**values))
    return ZoneInfo(f"Etc/GMT{behind:+d}" if behind else "UTC")


def test_a_day_that_is_not_over_is_counted_until_now(database: Engine, films: list[int], running: ZoneInfo) -> None:
    now = datetime.now(UTC)
    found = night_report(database, now.astimezone(running).date(), NightOptions(zone=running, drift=days.DRIFT))
    assert not found.day_over
    assert now <= found.span.end <= datetime.now(UTC)
    assert [sender.received for sender in found.senders] == [1]
    assert len(found.turnaround.hours) == 7
    assert [source.silent_hours for source in found.sources] == [1.0]
    assert judge(found).headline.startswith("All 1 film that reached us accounted for so far")
    page = render(found).html
    until = f"{found.span.end.astimezone(running):%H:%M}"
    assert f"<b>This day is not over.</b> It counts films received until {until}, {running.key}." in page
    assert page.index("This day is not over") < page.index('class="verdict')
    assert f"chest films of {now.astimezone(running):%A %Y-%m-%d}, until {until}</title>" in page
    assert f"Its head at {until}:" in page


def test_a_day_that_is_over_has_no_banner(database: Engine, films: list[int]) -> None:
    found = night_report(database, DAY, OPTIONS)
    assert (found.day_over, found.as_dict()["end"]) == (True, "2026-11-21T00:00:00+00:00")
    page = render(found).html
    assert "not over" not in page
    assert "so far" not in page
    assert "from midnight to midnight" in page


def test_a_difference_and_a_broken_trail_stand_in_red(database: Engine, films: list[int]) -> None:
    with writing(database) as connection:
        connection.execute(delete(outbox).where(outbox.c.instance_id == films[3]))
        connection.execute(update(audit_event).where(audit_event.c.instance_id == films[0]).values(actor="CR1 "))
    page = render(night_report(database, DAY, OPTIONS)).html
    assert '<b class="bad">' in page
    assert "1 of 3 films received are not accounted for" in page or "not accounted for" in page
    assert "its content was altered" in page


def test_a_score_that_the_trail_does_not_tell_of_stands_in_red(database: Engine, films: list[int]) -> None:
    quiet = night_report(database, DAY, OPTIONS)
    assert "2 scores of a release before cannot be checked" in render(quiet).html
    with writing(database) as connection:
        row = {"instance_id": films[3], "bundle_digest": "c", "engine": "e", "software_version": "0"}
        connection.execute(insert(score), row | {"scored_at": NOON})
    found = night_report(database, DAY, OPTIONS)
    words = f"the score of instance {films[3]} by bundle c is one that no audit event tells of"
    fault = f"cores and the audit trail differ: {words}"
    assert faults(found) == [f"S{fault}."]
    assert [one.text for one in found.conditions] == [f"s{fault}"]
    assert f"Broken: s{fault}." in render(found).html


def test_the_command_writes_three_files_and_fails_on_a_difference(tmp_path: Path, spool: Spool) -> None:
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    key = sent(database, spool, tmp_path, "film")
    out, today = tmp_path / "report", datetime.now(UTC).date().isoformat()
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        code, told, _ = xrayq("audit", "report", "--date", today, "--out", str(out))
        assert code == 0
        first, second = told.splitlines()
        assert re.fullmatch(rf"{today} is not over: films received until {today} \d\d:\d\d UTC are counted", first)
        assert f"{today} (UTC): 1 film received, 0 scored, 0 dead letters, 0 not accounted for" in second
        assert json.loads((out / "report.json").read_text())["senders"][0]["pending"] == 1
        (row,) = csv.DictReader((out / "instances.csv").open())
        assert row["id"] == str(key)
        with writing(database) as connection:
            connection.execute(delete(outbox))
        code, _, error = xrayq("audit", "report", "--date", today, "--out", str(out))
        assert code == 1
        assert "1 of 1 films received are not accounted for" in error
    database.dispose()
