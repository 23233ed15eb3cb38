"""What a PACS has beside the ledger: each reason, what is kept, the alarm, and a night with a PACS that is away."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, GrayscaleSoftcopyPresentationStateStorage
from sqlalchemy import Engine, insert, select, update

from dicom_gateway.encode import derived_uid
from dicom_gateway.negotiation import class_name
from tests.alarms import limits
from tests.asked_pacs import AskedPacs as Archive
from tests.asked_pacs import archived, asked_pacs
from tests.days import DRIFT
from tests.services import free_port, typed
from worker.alarms import ledger, live_rules
from worker.db.pseudonyms import accession_digest, digest_key
from worker.db.session import reading, writing
from worker.db.tables import audit_event, instance
from worker.nightly.content import NightOptions, night_report
from worker.nightly.headline import judge
from worker.nightly.page.pacs import section
from worker.pacs import ask, kept
from worker.pacs.comparing import Why
from worker.pacs.options import AskedPacs, AskOptions
from worker.receiving.refusals import Refusals
from worker.states import State

NOW = datetime.now(UTC)
DAY = NOW.date() - timedelta(days=1)
AS_DA = f"{DAY:%Y%m%d}"


def options(*ports: int, **other: Any) -> AskOptions:
    pacs = tuple(
        AskedPacs(called_ae=f"ARCHIVE{number or ''}", host="127.0.0.1", port=port) for number, port in enumerate(ports)
    )
    return AskOptions(pacs=pacs, calling_ae="XRAYQ", zone=ZoneInfo("UTC"), **other)


def came(database: Engine, film: Dataset, **other: Any) -> None:
    """A row of the ledger, as if the film had been sent."""
    empty = dict.fromkeys(("transfer_syntax_uid", "digest", "called_ae", "body_part", "view_position"), "")
    row = {
        "sop_instance_uid": film.SOPInstanceUID,
        "study_instance_uid": film.StudyInstanceUID,
        "series_instance_uid": film.SeriesInstanceUID,
        "sop_class_uid": film.SOPClassUID,
        "modality": film.Modality,
        "revision": 1,
        "size": 1,
        "calling_ae": "CR1",
        "state": "scored",
        "received_at": NOW,
    }
    with writing(database) as connection:
        connection.execute(insert(instance), empty | row | other)


def film(name: str, series: str = "DX", **other: Any) -> Dataset:
    """Of one study: each series and study more is a question more, and pynetdicom takes its time."""
    uids = {"StudyInstanceUID": derived_uid("study"), "SeriesInstanceUID": derived_uid("series", series)}
    return archived(name, day=AS_DA, **uids | other)


@contextmanager
def a_bad_day(database: Engine) -> Iterator[tuple[Archive, dict[str, Dataset]]]:
    """Ten films of the PACS, of which three are here; and others that are none of ours."""
    names = ("here", "again", "marked", "unsent", "unsent2", "refused", "context", "strange", "other", "young")
    series = {"context": "CR", "marked": "unmarked"}
    films = {name: film(name, series.get(name, "DX")) for name in names}
    films["context"].SOPClassUID, films["context"].Modality = ComputedRadiographyImageStorage, "CR"
    young = datetime.now(UTC)
    films["young"].ContentDate, films["young"].ContentTime = f"{young:%Y%m%d}", f"{young:%H%M%S}"
    beside = [
        film("hand", "hand", BodyPartExamined="HAND"),
        film("ct", "CT", modality="CT"),
        film("state", SOPClassUID=GrayscaleSoftcopyPresentationStateStorage),
    ]
    came(database, films["here"])
    for revision, state in ((1, "ineligible"), (2, "received")):
        came(database, films["again"], revision=revision, state=state)
    films["marked"].BodyPartExamined = ""
    came(database, films["marked"], state="failed")
    came(database, films["strange"], state=State.QUARANTINED, admitted=False)
    came(database, films["other"], is_film=False)
    turned_away = Refusals()
    turned_away.stored("CR2", 0xA900, 1, 0.0)
    turned_away.film_refused("CR2", films["refused"].SOPInstanceUID, 0xA900)
    turned_away.context_refused("CR3", class_name(ComputedRadiographyImageStorage), "transfer_syntax")
    turned_away.write(database)
    with asked_pacs(free_port(), [*films.values(), *beside]) as archive:
        yield archive, films


def reasons(database: Engine) -> dict[str, tuple[Why, str | None, str]]:
    with reading(database) as connection:
        return {one.sop_instance_uid: (one.why, one.status, one.calling_ae) for one in kept.listed(connection)}


def test_each_missing_film_is_named_with_its_reason(database: Engine, tmp_path: Path) -> None:
    with a_bad_day(database) as (archive, films):
        asked = options(archive.port, queries_on_record=True)
        ask.ask_for_night(database, DAY, asked)
        questions = len(archive.asked)
        ask.ask_for_night(database, DAY, asked)
        assert len(archive.asked) == questions, "a night that is tried again asks no more"
    expected = {
        "unsent": (Why.NEVER_SENT, None, ""),
        "unsent2": (Why.NEVER_SENT, None, ""),
        "refused": (Why.REFUSED, "0xA900", "CR2"),
        "context": (Why.CONTEXT_REFUSED, None, "CR3"),
        "strange": (Why.QUARANTINED, None, ""),
        "other": (Why.OTHER_OBJECT, None, ""),
    }
    assert reasons(database) == {films[name].SOPInstanceUID: said for name, said in expected.items()}
    with reading(database) as connection:
        query = select(audit_event.c.detail).where(audit_event.c.action == "queried")
        (on_record,) = connection.execute(query).scalars()
        (day,) = kept.of_day(connection, DAY)
        rows = kept.listed(connection)
    keys = dict.fromkeys(("QueryRetrieveLevel", "StudyDate", "ModalitiesInStudy", "StudyInstanceUID"), "")
    assert on_record == {
        "destination": f"ARCHIVE@127.0.0.1:{archive.port}",
        "sop_class": "1.2.840.10008.5.1.4.1.2.2.1",
        "keys": keys | {"QueryRetrieveLevel": "STUDY"},
    }, "what was asked for, and no value of a patient"
    assert (day.films, day.here, day.on_its_way, day.missing, day.fault) == (10, 3, 1, 6, None)
    assert {row.film_at for row in rows} == {f"{DAY} 10:15"}

    report = night_report(database, DAY, NightOptions(zone=ZoneInfo("UTC"), drift=DRIFT))
    said = (
        f"ARCHIVE has 10 chest films of {DAY}; 3 here; 1 may still be on the way; 6 not: 2 never sent, "
        "1 refused by its presentation context, 1 refused (0xA900), 1 quarantined, "
        "1 here as another object, not as a film."
    )
    assert said in judge(report).remarks
    assert "that reached us" not in judge(report).headline
    page, content = str(list(section(report))), str(report.as_dict())
    assert "refused (0xA900, SOP Class UID differs from command or context; CR2)" in page
    for one in films.values():
        for secret in (one.SOPInstanceUID, one.StudyInstanceUID, one.AccessionNumber, "Nobody", "Thorax"):
            assert secret not in page
            assert secret not in content

    changes = live_rules.watch(database, limits(spool=tmp_path), ())
    (raised,) = [change for change in changes if change.rule == "not_received"]
    assert (raised.subject, raised.value, raised.threshold) == ("ARCHIVE", 6, 1)
    assert "6 films that ARCHIVE has did not come: 2 never sent" in raised.text
    for name in ("unsent", "unsent2", "refused", "context"):
        came(database, films[name])
    came(database, films["other"], revision=2)
    with writing(database) as connection:
        connection.execute(
            update(instance).where(instance.c.state == State.QUARANTINED).values(state="received", admitted=True)
        )
        assert ("not_received", "ARCHIVE") in ledger.open_alarms(connection)
    live_rules.watch(database, limits(spool=tmp_path), ())
    with reading(database) as connection:
        assert ("not_received", "ARCHIVE") not in ledger.open_alarms(connection), "over when the films are here"
        (day,) = kept.of_day(connection, DAY)
        assert (day.here, len(day.not_here), day.missing) == (3, 6, 0), "what was said that night stands"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_day_that_is_asked_again(database: Engine) -> None:
    with a_bad_day(database) as (archive, films):
        asked = options(archive.port, settled_minutes=0)
        (pacs,) = asked.pacs
        for found in ask.ask(database, pacs, [DAY], asked, until=time.monotonic() + 60):
            ask.keep(database, found)
        with reading(database) as connection:
            before = {one.sop_instance_uid: one.id for one in kept.listed(connection)}
        assert len(before) == 7, "none is on its way"
        came(database, films["unsent"])
        archive.films.remove(films["unsent2"])
        for found in ask.ask(database, pacs, [DAY], asked, until=time.monotonic() + 60):
            ask.keep(database, found)
    with reading(database) as connection:
        after = {one.sop_instance_uid: one.id for one in kept.listed(connection)}
        (day,) = kept.of_day(connection, DAY)
    gone = {films["unsent"].SOPInstanceUID, films["unsent2"].SOPInstanceUID}
    assert after == {uid: row for uid, row in before.items() if uid not in gone}, "a film keeps its id"
    assert (day.films, day.here, day.missing) == (9, 4, 5)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_pacs_that_is_away_costs_the_night_nothing(database: Engine) -> None:
    """And it is asked for the day again the next night; the other PACS is asked all the same."""
    away, before = free_port(), DAY - timedelta(days=1)
    with asked_pacs(free_port(), [film("here"), archived("old", day=f"{before:%Y%m%d}")], title="ARCHIVE1") as other:
        asked = options(away, other.port, total_seconds=20)
        ask.ask_for_night(database, before, asked)
        report = night_report(database, before, NightOptions(zone=ZoneInfo("UTC"), drift=DRIFT))
        assert [(day.pacs, day.fault, day.missing) for day in report.pacs] == [
            ("ARCHIVE", "no_connection", 0),
            ("ARCHIVE1", None, 1),
        ]
        words = "ARCHIVE was asked which films it has, and did not say: nothing listens there, or it does not answer."
        assert words in judge(report).remarks
    with asked_pacs(away, [archived("old2", day=f"{before:%Y%m%d}")]) as back:
        ask.ask_for_night(database, DAY, replace(asked, pacs=asked.pacs[:1]))
        days = [str(question.StudyDate) for question in back.asked if question.QueryRetrieveLevel == "STUDY"]
    assert days[0] == AS_DA, "the day of the report comes first"
    with reading(database) as connection:
        found = {(day.pacs, day.fault, day.missing) for day in kept.of_day(connection, before)}
    assert found == {("ARCHIVE", None, 1), ("ARCHIVE1", None, 1)}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_half_an_answer_is_none(database: Engine) -> None:
    """It fails in the middle of its series, and what it said before is no number to show."""
    with asked_pacs(free_port(), [film("one"), film("two")]) as archive:
        archive.manners.status_at = {"SERIES": 0xC001}
        ask.ask_for_night(database, DAY, options(archive.port))
    with reading(database) as connection:
        (day,) = kept.of_day(connection, DAY)
        assert (day.fault, day.films, kept.listed(connection)) == ("query_0xC001", 0, [])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_words_of_a_description_choose_where_the_body_part_is_missing(database: Engine) -> None:
    films = [
        archived("chest", day=AS_DA, BodyPartExamined=""),
        archived("hand", day=AS_DA, BodyPartExamined="", StudyDescription="Hand re"),
        archived("said", day=AS_DA, StudyDescription="Unfall"),
    ]
    with asked_pacs(free_port(), films) as archive:
        asked = options(archive.port, words=("thorax",))
        (found,) = ask.ask(database, asked.pacs[0], [DAY], asked, until=time.monotonic() + 60)
    assert found.comparison
    names = {one.sop_instance_uid for one in found.comparison.missing}
    assert names == {films[0].SOPInstanceUID, films[2].SOPInstanceUID}
    assert found.comparison.missing[0].accession_digest == accession_digest(digest_key(database), "Achest")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_commands(database: Engine, database_url: str) -> None:
    with a_bad_day(database) as (archive, films):
        given = {"database_url": database_url, "ask_pacs": f"ARCHIVE@127.0.0.1:{archive.port}"}
        checked = typed("pacs", "check", **given)
        assert (checked.returncode, checked.stdout[:16]) == (0, "ARCHIVE answers:")
        assert said_by_doctor(given) == (True, "C-FIND is accepted by ARCHIVE")
        missing = typed("pacs", "missing", "--keep", **given)
        assert missing.returncode == 1
        assert missing.stderr == "xrayq: 6 films are missing\n"
        lines = missing.stdout.splitlines()
        assert len(lines) == 7
        assert lines[-1].startswith(f"ARCHIVE has 10 chest films of {DAY}; 3 here; 1 may still be on the way; 6 not: ")
        line = f"{DAY} 10:15  DX  {films['refused'].SOPInstanceUID}  refused (0xA900, SOP Class UID differs"
        assert any(one.startswith(line) for one in lines)
    listed = typed("pacs", "list", "--json", **given)
    assert {one["sop_instance_uid"]: one["why"] for one in json.loads(listed.stdout)} == {
        uid: why for uid, (why, *_) in reasons(database).items()
    }
    assert films["refused"].SOPInstanceUID in typed("pacs", "list", **given).stdout
    away = typed("pacs", "missing", **given)
    assert (away.returncode, away.stdout) == (5, "")
    assert f"ARCHIVE did not say what it has of {DAY}: nothing listens there" in away.stderr
    assert typed("pacs", "check", **given).returncode == 5
    with asked_pacs(archive.port, finds=False), asked_pacs(free_port(), title="OTHER") as other:
        two = f"{given['ask_pacs']},MISTYPED@127.0.0.1:{other.port}"
        assert said_by_doctor(given | {"ask_pacs": two}) == (
            False,
            "ARCHIVE: it accepts no C-FIND of us: let our AE title query there (Study Root); MISTYPED: it does not "
            "answer to the called AE title in XRAYQ_ASK_PACS. 'xrayq pacs check' asks for today's studies",
        )
    none = typed("pacs", "missing", database_url=database_url)
    assert (none.returncode, none.stderr) == (2, "xrayq: XRAYQ_ASK_PACS names no PACS to ask\n")


def said_by_doctor(given: dict[str, str]) -> tuple[bool, str]:
    checks = {one["check"]: one for one in json.loads(typed("doctor", "--json", **given).stdout)}
    return checks["pacs"]["ok"], checks["pacs"]["text"]


@pytest.mark.parametrize("first", ["2026-11-31", "2026-11-28"])
def test_days_that_are_none(first: str) -> None:
    found = typed("pacs", "missing", "--from", first, "--to", "2026-11-27", ask_pacs="A@127.0.0.1:104")
    assert found.returncode == 2
