"""A film that came again as another patient's: what the lists and the night's report say of it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, insert, select, update

from dicom_gateway.spool import Spool
from tests.days import DRIFT
from tests.integration.audit.test_reconciliation import ended
from tests.integration.receiving.test_ingest import take
from tests.phantoms import chest_pixels, write_film
from tests.services import typed_in
from worker.db.session import writing
from worker.db.tables import finding_score, instance, score
from worker.nightly.content import NightOptions, night_report
from worker.nightly.files import write_report
from worker.nightly.headline import Level, judge
from worker.nightly.night_report import NightReport
from worker.nightly.page.page import render
from worker.receiving.ingest import ArrivalKind

OPTIONS = NightOptions(zone=ZoneInfo("UTC"), drift=DRIFT)


@pytest.fixture
def films(database: Engine, spool: Spool, tmp_path: Path) -> tuple[int, int, int]:
    """A scored and flagged film of a wrong patient, with another window, and as the right patient's in the right
    study; then once more with another name."""
    small = {"pixels": chest_pixels(64, 64)}
    right = small | {"PatientID": "PID-SECRET-2", "StudyInstanceUID": "1.2.3", "WindowCenter": 2000, "WindowWidth": 9}
    _, wrong = take(database, spool, write_film(tmp_path, **small))
    ended(database, wrong, "scored")
    with writing(database) as connection:
        number = connection.execute(select(score.c.id).where(score.c.instance_id == wrong)).scalar_one()
        row = {"score_id": number, "finding": "covid19", "logit": 1.0, "probability": 0.9, "flag": True}
        connection.execute(insert(finding_score), row)
    _, window = take(database, spool, write_film(tmp_path, WindowCenter=2000, WindowWidth=9, **small))
    _, corrected = take(database, spool, write_film(tmp_path, **right))
    named = write_film(tmp_path, **(right | {"PatientName": "Secret^Name"}))
    assert take(database, spool, named) == (ArrivalKind.DUPLICATE, corrected)
    return wrong, window, corrected


def tonight(database: Engine) -> NightReport:
    return night_report(database, datetime.now(UTC).date(), OPTIONS)


def test_the_report_names_the_film_and_the_score_under_the_wrong_patient(
    database: Engine, films: tuple[int, int, int], tmp_path: Path
) -> None:
    wrong, window, corrected = films
    found = tonight(database)
    (change,) = found.identity_changed
    assert (change.id, change.calling_ae, change.identity_changed) == (
        corrected,
        "LOCAL",
        ("PatientID", "StudyInstanceUID"),
    )
    assert [(film.id, film.state, film.flags) for film in change.earlier] == [
        (wrong, "scored", ("covid19",)),
        (window, "received", ()),
    ]
    assert found.demographics_changed == {"LOCAL": 1}
    assert found.difference == 0
    said = judge(found)
    assert said.level is Level.LOOK
    assert (
        "LOCAL: 1 film came again as another patient's, study's or side's (see Corrections). Of these, 1 has an "
        "earlier score that stands under the identity before. Find out who received the earlier score, and correct it "
        "there." in said.remarks
    )
    drawn = render(found)
    page = drawn.html
    assert drawn.without == ()
    assert f"{wrong}: scored, flagged COVID-19<br>{window}: received" in page
    assert "Patient ID, Study Instance UID" in page
    assert "of the same Patient ID, which is taken as a correction of the patient&#39;s data: LOCAL 1." in page
    write_report(database, datetime.now(UTC).date(), OPTIONS, tmp_path)
    for name in ("report.json", "report.html", "instances.csv"):
        assert "SECRET" not in (tmp_path / name).read_text().upper(), name


def test_a_film_whose_earlier_file_is_gone_is_not_called_another_patients(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    film = write_film(tmp_path, pixels=chest_pixels(64, 64))
    _, before = take(database, spool, film)
    ended(database, before, "scored")
    for kept in spool.root.rglob("*.dcm"):
        kept.unlink()
    other = write_film(tmp_path, pixels=chest_pixels(64, 64), WindowWidth=9)
    _, again = take(database, spool, other)
    found = tonight(database)
    assert [(film.id, film.identity_changed) for film in found.identity_changed] == [(again, ("unknown",))]
    assert [one for one in judge(found).remarks if "came again" in one] == [
        "LOCAL: 1 film came again and could not be compared: the earlier file could not be read (see Corrections). "
        "Where the spool was cleaned, this is no fault."
    ]
    drawn = render(found)
    page = drawn.html
    assert drawn.without == ()
    assert "an attribute says that it belongs to another patient" not in page
    assert "Films that came again and could not be compared" in page


def test_a_film_of_the_other_side_is_named_so(database: Engine, spool: Spool, tmp_path: Path) -> None:
    for laterality in ("L", "R"):
        take(database, spool, write_film(tmp_path, pixels=chest_pixels(64, 64), ImageLaterality=laterality))
    (said,) = [one for one in judge(tonight(database)).remarks if "came again" in one]
    assert said == "LOCAL: 1 film came again as another patient's, study's or side's (see Corrections)."


def test_a_score_of_a_day_before_is_named_too(database: Engine, films: tuple[int, int, int]) -> None:
    wrong, _, corrected = films
    with writing(database) as connection:
        early = {"received_at": datetime.now(UTC) - timedelta(days=3)}
        connection.execute(update(instance).where(instance.c.id == wrong).values(early))
    (change,) = tonight(database).identity_changed
    assert (change.id, change.earlier[0].id) == (corrected, wrong)


def test_a_day_without_corrections(database: Engine, spool: Spool, tmp_path: Path) -> None:
    small = {"pixels": chest_pixels(64, 64)}
    take(database, spool, write_film(tmp_path, **small))
    take(database, spool, write_film(tmp_path, WindowCenter=2000, WindowWidth=9, **small))
    found = tonight(database)
    assert (found.identity_changed, found.demographics_changed) == ((), {})
    assert not [one for one in judge(found).remarks if "came again" in one]


def test_lists_mark_both_films(
    database: Engine,
    database_url: str,
    films: tuple[int, int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong, window, corrected = films
    with typed_in(tmp_path, home=str(tmp_path), database_url=database_url) as xrayq:
        listed = xrayq("instance", "list")[1]
        monkeypatch.setenv("COLUMNS", "80")
        narrowly = xrayq("instance", "list")[1]
        monkeypatch.delenv("COLUMNS")
        assert "came again" in listed
        assert "changed: Patient ID, Study Instance UID" in " ".join(listed.split())
        assert f"replaced by {window}" in listed
        assert f"instance {corrected} changed: Patient ID, Study Instance UID" in narrowly
        assert " id " in narrowly.splitlines()[1], "still a table"
        rows = {one["id"]: one for one in json.loads(xrayq("instance", "list", "--json")[1])}
        shown = xrayq("instance", "show", str(corrected))[1]
        between = xrayq("instance", "show", str(window))[1]
        both = json.loads(xrayq("instance", "show", rows[wrong]["sop_instance_uid"], "--json")[1])
    assert [rows[key]["identity_changed"] for key in films] == [None, [], ["PatientID", "StudyInstanceUID"]]
    assert [rows[key]["replaced_by"] for key in films] == [window, corrected, None]
    assert f"differs from instance {window} in: Patient ID, Study Instance UID" in shown
    assert f"differs from instance {wrong} in: Window" in between
    assert "of the same Patient ID, corrected: Patient's Name" in shown
    assert [one["id"] for one in both] == list(films)
    assert "SECRET" not in (listed + shown + json.dumps(both)).upper()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_submit_says_what_changed(database: Engine, database_url: str, tmp_path: Path) -> None:
    small = {"pixels": chest_pixels(64, 64)}
    with typed_in(tmp_path, home=str(tmp_path), database_url=database_url, spool_reserve_mib="1") as xrayq:
        assert "changed:" not in xrayq("submit", str(write_film(tmp_path, **small)))[1]
        other = str(write_film(tmp_path, PatientID="PID-SECRET-2", **small))
        told = xrayq("submit", other)[1]
        older = write_film(tmp_path, PatientID="PID-SECRET-2", PatientAge="046Y", **small)
        (found,) = json.loads(xrayq("submit", str(older), "--json")[1])
    assert told.splitlines()[0].endswith("  changed: Patient ID")
    assert (found["outcome"], found["changed"]) == ("revision", ["PatientAge"])


def test_an_installation_without_corrections_has_no_mark(
    database: Engine, database_url: str, spool: Spool, tmp_path: Path
) -> None:
    take(database, spool, write_film(tmp_path, pixels=chest_pixels(64, 64)))
    with typed_in(tmp_path, home=str(tmp_path), database_url=database_url) as xrayq:
        assert "came again" not in xrayq("instance", "list")[1]
