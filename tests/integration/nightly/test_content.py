"""What the report says around the films, on both databases: senders, scores, alarms, room, labels."""

import csv
import json
import re
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from markupsafe import escape
from sqlalchemy import Engine, func, insert, select, update

from dicom_gateway.spool import Spool
from model.findings import SPOKEN
from model.json_value import plain
from tests import days
from tests.alarms import contexts_refused
from worker.audit import trail
from worker.db.session import reading, writing
from worker.db.span import Span
from worker.db.tables import audit_event, finding_score, instance, label_sample, score, truth
from worker.monitoring import live_labels
from worker.monitoring.drift_reference import freeze_missing
from worker.monitoring.readings import give_label
from worker.nightly import published
from worker.nightly.content import NightOptions, night_report
from worker.nightly.files import write_report
from worker.nightly.films import BINS
from worker.nightly.night_report import MissingPart
from worker.nightly.page import day as day_page
from worker.nightly.page.page import render
from worker.receiving.refusals import CONTEXTS

DAY = date(2026, 11, 20)
MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
OPTIONS = NightOptions(zone=ZoneInfo("UTC"), drift=days.DRIFT)


@pytest.fixture
def films(database: Engine) -> list[int]:
    """Forty films of the day, twenty of two days before."""
    days.fill(database, DAY - timedelta(days=2), 20, seed=3)
    return days.fill(database, DAY, 40, seed=4)


def test_senders_with_their_silence(database: Engine, films: list[int]) -> None:
    with writing(database) as connection:
        early = instance.c.received_at < MIDNIGHT
        connection.execute(update(instance).values(calling_ae="CR1"))
        connection.execute(update(instance).where(early).values(calling_ae="CR2"))
        connection.execute(
            update(instance).where(instance.c.id == films[-1]).values(received_at=MIDNIGHT + timedelta(hours=23.5))
        )
        connection.execute(
            update(instance).where(early, instance.c.id == 1).values(received_at=MIDNIGHT - timedelta(days=4))
        )
    first, other = night_report(database, DAY, OPTIONS).sources
    assert (first.calling_ae, first.films, first.usual, first.silent_hours) == ("CR1", 40, None, 0.5)
    assert (other.calling_ae, other.films, other.usual) == ("CR2", 0, 5.0)  # 20 films in 4 days
    assert other.silent_hours > 24
    later = night_report(database, DAY + timedelta(days=40), OPTIONS)
    assert later.sources == ()


def test_a_film_that_ended_before_it_came_has_no_time(database: Engine, films: list[int]) -> None:
    """A row of a release that took two hosts' clocks."""
    before = night_report(database, DAY, OPTIONS)
    with writing(database) as connection:
        of_day = select(instance.c.id).where(instance.c.id.in_(films), instance.c.state == "scored")
        first = connection.execute(of_day.order_by(instance.c.id).limit(1)).scalar_one()
        early = MIDNIGHT - timedelta(seconds=70)
        connection.execute(update(instance).where(instance.c.id == first).values(finished_at=early))
    after = night_report(database, DAY, OPTIONS)
    assert (before.turnaround.untimed, after.turnaround.untimed) == (0, 1)
    of_before, of_after = before.turnaround.hours, after.turnaround.hours
    assert [hour.scored for hour in of_after] == [hour.scored for hour in of_before]
    assert all(hour.seconds.p50 > 0 for hour in of_after if hour.seconds)
    assert "scored before they came: 1." in "".join(day_page.hours(after))


def test_throughput_is_of_the_busiest_hour_and_minute(database: Engine, films: list[int]) -> None:
    at = MIDNIGHT + timedelta(hours=7, minutes=30)
    with writing(database) as connection:
        keys = instance.c.id.in_(films)
        connection.execute(update(instance).where(keys).values(received_at=at, state="scored"))
        connection.execute(update(instance).where(keys).values(finished_at=at + timedelta(minutes=1)))
        connection.execute(
            update(instance).where(instance.c.id.in_(films[:5])).values(finished_at=at + timedelta(minutes=3))
        )
    berlin = replace(OPTIONS, zone=ZoneInfo("Europe/Berlin"))
    assert plain(night_report(database, DAY, berlin).turnaround.throughput) == {
        "received_in_an_hour": 40,
        "busiest_hour": "08:00",
        "scored_in_a_minute": 35,
        "busiest_minute": "08:31",
    }


def test_an_hour_that_comes_twice_has_its_offset(database: Engine, films: list[int]) -> None:
    day, berlin = date(2026, 10, 25), replace(OPTIONS, zone=ZoneInfo("Europe/Berlin"))
    assert {hour.hour for hour in night_report(database, DAY, berlin).turnaround.hours} == {
        f"{at:02}:00" for at in range(24)
    }
    at = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    with writing(database) as connection:
        times = {"received_at": at, "finished_at": at, "state": "scored"}
        connection.execute(update(instance).where(instance.c.id.in_(films)).values(**times))
    found = night_report(database, day, berlin).turnaround
    assert [hour.hour for hour in found.hours[1:5]] == ["01:00", "02:00+02:00", "02:00+01:00", "03:00"]
    assert found.throughput.busiest_hour == "02:00+01:00"
    assert found.throughput.busiest_minute == "02:30+01:00"


def test_distributions_count_every_live_probability(database: Engine, films: list[int]) -> None:
    found = {spread.finding: spread for spread in night_report(database, DAY, OPTIONS).distributions}
    with reading(database) as connection:
        rows = connection.execute(
            select(finding_score.c.finding, finding_score.c.probability)
            .join(score, score.c.id == finding_score.c.score_id)
            .where(score.c.instance_id.in_(films))
        ).all()
    for finding, spread in found.items():
        values = [probability for name, probability in rows if name == finding]
        assert sum(spread.counts) == len(values) > 0
        assert spread.counts[-1] == sum(value >= 1 - 1 / BINS for value in values)
    assert list(found) == ["normal", "pneumonia", "covid19"]
    assert found["normal"].operating_points == ()
    assert len(found["covid19"].operating_points) == 1


def test_a_shadows_scores_count_nowhere(database: Engine, films: list[int]) -> None:
    with writing(database) as connection:
        connection.execute(update(score).values(role="shadow"))
    assert night_report(database, DAY, OPTIONS).distributions == ()


def test_alarms_of_the_day(database: Engine, films: list[int]) -> None:
    hour = timedelta(hours=1)
    for subject, at, until in (
        ("before", -9 * hour, -hour),
        ("into", -hour, hour),
        ("within", hour, 2 * hour),
        ("out of", 23 * hour, 25 * hour),
        ("open", 3 * hour, None),
        ("after", 25 * hour, None),
    ):
        days.stood(database, subject, "", "x", MIDNIGHT + at, until and MIDNIGHT + until)
    found = night_report(database, DAY, OPTIONS).alarms
    assert [(alarm.rule, alarm.open_at_end) for alarm in found] == [
        ("into", False),
        ("within", False),
        ("open", True),
        ("out of", True),
    ]


def test_room_and_the_days_it_lasts(database: Engine, films: list[int], tmp_path: Path) -> None:
    Spool(tmp_path).prepare()
    options = replace(OPTIONS, spool=tmp_path, reports=tmp_path)
    found = night_report(database, DAY, options).storage
    assert found.spool
    assert found.reports
    with reading(database) as connection:
        sizes = {row.id: row.size for row in connection.execute(select(instance.c.id, instance.c.size))}
    assert found.received == sum(sizes[key] for key in films)
    with reading(database) as connection:
        first = connection.execute(select(func.min(instance.c.received_at))).scalar_one()
    days_on = (MIDNIGHT + timedelta(days=1) - first) / timedelta(days=1)
    assert (2 < days_on < 3, found.rate_days) == (True, round(days_on, 1))
    assert found.received_a_day == round(sum(sizes.values()) / days_on)
    assert found.spool.total == found.reports.total > found.spool.free > 0
    assert found.days_left == pytest.approx(found.spool.free * days_on / sum(sizes.values()), rel=0.01)
    full = replace(options, reserve_bytes=found.spool.total)
    assert night_report(database, DAY, full).storage.days_left == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_rate_of_a_service_that_is_new_and_of_one_that_is_not(database: Engine) -> None:
    days.fill(database, DAY, 10, seed=4)
    of_day = [sender.received for sender in night_report(database, DAY, OPTIONS).senders]
    with writing(database) as connection:  # all of them within the last hour of the first day
        connection.execute(update(instance).values(received_at=MIDNIGHT + timedelta(hours=23.5), size=1 << 30))
    found = night_report(database, DAY, OPTIONS)
    assert (found.storage.received_a_day, found.storage.rate_days) == (sum(of_day) << 30, 1.0)
    assert "10.0 GiB of films came on this day, 10.0 GiB a day since the first film." in render(found).html
    with writing(database) as connection:
        connection.execute(update(instance).where(instance.c.id < 4).values(received_at=MIDNIGHT - timedelta(days=30)))
    found = night_report(database, DAY, OPTIONS)
    assert "7.0 GiB of films came on this day, 1.0 GiB a day in the last week." in render(found).html


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_folder_that_no_gateway_prepared_is_no_spool(database: Engine, films: list[int], tmp_path: Path) -> None:
    """As the image has one, with the volume not mounted: it lies on another disk."""
    for folder in (tmp_path, tmp_path / "not there", None):
        found = night_report(database, DAY, replace(OPTIONS, spool=folder, reports=tmp_path / "none yet"))
        assert (found.storage.spool, found.storage.reports, found.storage.days_left) == (None,) * 3
        assert "does not see the spool" in render(found).html


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_labels_or_bundle_the_page_says_why(database: Engine, films: list[int], tmp_path: Path) -> None:
    found = night_report(database, DAY, OPTIONS)
    assert found.performance is None
    assert "xrayq labels import" in render(found).html
    gone = night_report(database, DAY, replace(OPTIONS, bundle=tmp_path))
    assert "cannot be opened" in render(gone).html


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_reference_that_was_frozen_on_the_day_is_a_change(database: Engine, films: list[int]) -> None:
    span = Span.of_day(DAY, OPTIONS.zone)
    (reference, *_) = freeze_missing(database, span, films=10, actor="somebody")
    today = datetime.now(UTC).date()  # audited now
    found = [change for change in night_report(database, today, OPTIONS).changes if change.actor == "somebody"]
    assert {change.action for change in found} == {"reference_frozen"}
    assert f"{reference.key.calling_ae}, new: " in render(night_report(database, today, OPTIONS)).html


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_labels_of_one_reader_are_one_change(database: Engine, films: list[int]) -> None:
    with writing(database) as connection:
        connection.execute(
            insert(label_sample), [{"draw": "a", "instance_id": films[0], "drawn_at": datetime.now(UTC)}]
        )
    for key, reader in ((films[0], "kim"), (films[1], "kim"), (films[1], "alex")):
        give_label(database, key, "normal", reader, read_on=DAY, actor=f"operator:{reader}")
    found = night_report(database, datetime.now(UTC).date(), OPTIONS)
    assert [(change.actor, change.detail) for change in found.changes if change.action == "labelled"] == [
        ("operator:kim", {"labels": 2, "blind": 1}),
        ("operator:alex", {"labels": 1, "blind": 0}),
    ]
    assert "labels 2, blind 1" in render(found).html


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_cell_of_the_csv_is_a_formula(database: Engine, films: list[int], tmp_path: Path) -> None:
    with writing(database) as connection:
        connection.execute(update(instance).values(calling_ae="=1+1"))
        connection.execute(update(instance).where(instance.c.id == films[0]).values(calling_ae="CR-1"))
    contexts_refused(database, "=1+1", "1.2.3", "1.2.3")
    with writing(database) as connection:
        connection.execute(update(audit_event).where(audit_event.c.action == CONTEXTS).values(at=MIDNIGHT))
    write_report(database, DAY, OPTIONS, tmp_path)
    with (tmp_path / published.INSTANCES).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["calling_ae"] for row in rows} == {"'=1+1", "CR-1"}
    with (tmp_path / published.REFUSED).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert [*row.values()][:4] == ["contexts_refused", "'=1+1", "1.2.3", "2"]
    assert row["notice"] == "Research software, not a medical device."
    assert {row["notice"] for row in rows} == {"Research software, not a medical device."}


def reported(database: Engine, end: datetime, looked_at: datetime) -> None:
    """The event of the report of the day before."""
    times = {"start": MIDNIGHT - timedelta(days=1), "end": end, "looked_at": looked_at}
    detail = {"date": "2026-11-19", "digest": "", "files": {}, "difference": 0, "alarms": [], "anchor": None}
    detail |= {name: time.isoformat() for name, time in times.items()}
    with writing(database) as connection:
        trail.record(connection, action=published.ACTION, instance_id=None, actor="relay", detail=detail)


def test_films_of_days_before_that_ended_on_the_day(database: Engine, films: list[int]) -> None:
    def again(key: int, hours: float) -> None:
        event = trail.event(action="scored", instance_id=key, actor="worker") | {
            "at": MIDNIGHT + timedelta(hours=hours)
        }
        with writing(database) as connection:
            trail.record_all(connection, [event])

    assert night_report(database, DAY, OPTIONS).late == ()
    again(1, 0.5)  # of two days before
    again(2, 24)  # the day after
    again(films[0], 3)  # of this day: in its own list
    with writing(database) as connection:
        connection.execute(update(instance).values(state="scored", reason=None))
        connection.execute(update(finding_score).where(finding_score.c.finding == "covid19").values(flag=True))
        eve = update(instance).where(instance.c.id.in_((3, 4)))
        connection.execute(eve.values(received_at=MIDNIGHT - timedelta(minutes=1)))
        score_of = select(score.c.id).where(score.c.instance_id == 1)
        connection.execute(update(finding_score).where(finding_score.c.score_id.in_(score_of)).values(flag=False))
        of_covid = finding_score.c.score_id.in_(score_of) & (finding_score.c.finding == "covid19")
        connection.execute(update(finding_score).where(of_covid).values(flag=True))
    reported(database, MIDNIGHT, MIDNIGHT + timedelta(hours=1))
    again(3, 0.9)  # before the report of its own day, which has it
    again(4, 1.1)
    found = night_report(database, DAY, OPTIONS)
    assert [(film.id, film.state) for film in found.late] == [(1, "scored"), (4, "scored")]
    assert found.late[0].flags == ("covid19",)
    page = render(found).html
    assert "flagged: COVID-19" in page
    assert "of days before" in page
    assert found.follows == found.span.start


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_zone_that_was_changed_is_told(database: Engine, films: list[int]) -> None:
    reported(database, MIDNIGHT - timedelta(hours=1), MIDNIGHT)
    page = render(night_report(database, DAY, OPTIONS)).html
    assert "films received from 2026-11-19 23:00 to 2026-11-20 00:00 UTC are in no report" in page


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_any_ae_title_can_be_drawn(database: Engine) -> None:
    titles = ("$$", "$^$", "$x_1_2$", "<b>&")
    days.fill(database, DAY - timedelta(days=1), 440, seed=6)
    keys = days.fill(database, DAY, 440, seed=7)
    with writing(database) as connection:
        for number, title in enumerate(titles):
            turn = instance.c.id % len(titles) == number
            connection.execute(update(instance).where(turn).values(calling_ae=title))
    freeze_missing(database, Span.of_day(DAY - timedelta(days=1), OPTIONS.zone), films=100, actor="relay")
    for title in titles:
        days.brighten(database, keys, title, 0.2)
    found = night_report(database, DAY, OPTIONS)
    drawn = render(found)
    page = drawn.html
    assert drawn.without == ()
    drifted = {condition.subject for condition in found.conditions if condition.rule == "drift"}
    for title in titles:
        assert any(title in subject for subject in drifted)  # so its figure is there too
        assert escape(f"{title} brightness") in page


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_name_from_outside_becomes_a_tag(database: Engine, films: list[int]) -> None:
    """What a device, a site or a label file is called is shown as it is, in every section that names it."""
    script = "<script>"  # fits the 16 characters of an AE title
    with writing(database) as connection:
        connection.execute(update(instance).values(calling_ae=script))
        connection.execute(update(instance).where(instance.c.id == films[0]).values(reason="<img src=x>"))
        connection.execute(update(score).values(bundle_digest="<svg onload=x>", engine="<iframe>"))
    site = "St. Mary's <script>alert(1)</script>"
    drawn = render(night_report(database, DAY, replace(OPTIONS, site=site)))
    page = drawn.html
    assert drawn.without == ()
    tags = set(re.findall(r"<[a-z]+", page))
    assert not tags & {"<script", "<iframe", "<svg"}
    assert set(re.findall(r'<img [a-z]+="[a-z]+', page)) == {'<img src="data'}
    assert "St. Mary&#39;s &lt;script&gt;alert(1)&lt;/script&gt;: chest films of" in page
    assert page.count("&lt;script&gt;") > 5
    assert "&amp;lt;" not in page  # once, not twice


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_part_that_cannot_be_drawn_is_told_and_the_others_are_there(database: Engine, films: list[int]) -> None:
    found = night_report(database, DAY, OPTIONS)
    drawn = render(replace(found, turnaround=replace(found.turnaround, hours=())))
    page = drawn.html
    assert drawn.without == (MissingPart(part="day", reason="ValueError"),)
    assert "This part could not be drawn (ValueError)" in page
    assert "All 40 films that reached us accounted for; 1 thing needs a look" in page
    assert page.count("<section ") == 13


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_figure_shows_tex(database: Engine, films: list[int]) -> None:
    pictures = re.findall(
        r'src="data:image/svg\+xml;base64,([^"]+)"', render(night_report(database, DAY, OPTIONS)).html
    )
    drawn = [b64decode(one).decode() for one in pictures]  # each text stands in a comment before its glyphs
    assert [one for one in drawn if "$\\" in one or "math" in one] == []
    assert any("films (logarithmic)" in one and "<!-- 10 -->" in one for one in drawn)


def test_a_probability_that_is_no_number_is_left_out_and_counted(database: Engine) -> None:
    """It neither hides in a verdict nor makes the report's JSON unreadable."""
    keys = days.fill(database, DAY, 20, shares=days.Shares(ineligible=0.0, labelled=1.0), seed=5)
    with writing(database) as connection:
        connection.execute(
            insert(label_sample), [{"draw": "one", "instance_id": key, "drawn_at": datetime.now(UTC)} for key in keys]
        )
        of_first = finding_score.c.score_id.in_(select(score.c.id).where(score.c.instance_id == keys[0]))
        bad = float("inf")
        connection.execute(
            update(finding_score).where(of_first, finding_score.c.finding == "pneumonia").values(probability=bad)
        )
        connection.execute(update(finding_score).where(finding_score.c.finding == "covid19").values(probability=bad))
    found = live_labels.against_labels(database, None).performance
    assert found
    normal, sick, covid = found.calibration
    assert (normal.films, normal.no_number, sick.films, sick.no_number) == (20, None, 19, 1)
    assert np.isfinite(sick.expected)
    assert sick.holds is not None
    assert (covid.films, covid.no_number, covid.holds) == (0, 20, None)
    assert "no_number" not in normal.as_dict()
    json.dumps(found.as_dict(), allow_nan=False)
    page = render(night_report(database, DAY, OPTIONS)).html
    assert "; 1 film left out: the probability is no number" in page
    assert "–; 20 films left out: the probability is no number" in page


def test_labels_beside_what_was_stated(database: Engine) -> None:
    keys = days.fill(database, DAY, 60, shares=days.Shares(ineligible=0.0, labelled=1.0), seed=5)
    with writing(database) as connection:  # of 60 labelled films 30 have it, by probabilities of 0.1 six should
        connection.execute(update(finding_score).values(probability=0.1))
        half = [f"1.2.826.0.1.3680043.10.1.{key}" for key in keys[:30]]
        connection.execute(update(truth).values(label="normal"))
        connection.execute(update(truth).where(truth.c.sop_instance_uid.in_(half)).values(label="pneumonia"))
        connection.execute(
            insert(label_sample), [{"draw": "one", "instance_id": key, "drawn_at": datetime.now(UTC)} for key in keys]
        )
    found = live_labels.against_labels(database, None).performance
    assert found
    assert (found.rates.sample.drawn, found.rates.sample.labelled) == (60, 60)
    by_finding = {stated.finding: stated for stated in found.calibration}
    sick, covid = by_finding["pneumonia"], by_finding["covid19"]
    assert (sick.films, sick.expected, sick.observed, sick.holds) == (60, 6.0, 30, False)
    assert sick.interval95 == pytest.approx([0.3681, 0.6319], abs=1e-4)
    assert (covid.observed, covid.holds) == (0, False)

    page = render(night_report(database, DAY, OPTIONS)).html
    shown = page[page.index('<section id="performance">') : page.index('<section id="drift">')]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", shown)]
    rates = {(finding.finding, one.label): one for finding in found.rates.sample.findings for one in finding.by_label}
    assert len(rates) == 9
    told = {(row[0], row[1]): row[2:] for row in cells if len(row) == 10}
    for (finding, label), one in rates.items():
        rate = one.rate
        name, now, _, right, of_films, _, evidence, alarm = told[SPOKEN[finding], SPOKEN[label]]
        assert (name, now) == (one.name, f"{rate.published_value:.3f}" if rate.trials else "–")
        assert (right, of_films) == (str(rate.successes), str(rate.trials))
        assert evidence == ("–" if rate.evidence is None else f"{rate.published_evidence:.3g}")
        assert ("alarm" in alarm) == rate.alarm
    assert "Not representative" not in shown
    outside = next(row for row in cells if row[:2] == ["pneumonia", "60"])
    assert outside[-1] == "outside"  # one of three looks a night at 95 % each: no verdict, so not in red
