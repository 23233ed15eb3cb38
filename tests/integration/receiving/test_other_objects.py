"""The ledger of what is no film: a row and two audit events, no file, no work, and no part of what counts films."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, func, select, text, update

from dicom_gateway.errors import StoreUnavailable
from dicom_gateway.local import store_file
from dicom_gateway.options import Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.spool import Spool
from model.findings import FINDINGS
from tests import days
from tests.alarms import arrived
from tests.integration.alarms.test_silence import at, mondays, silent
from tests.integration.audit.test_reconciliation import ended, found, named, sent
from tests.integration.receiving.test_ingest import after_look
from tests.integration.receiving.test_orphans import settled
from tests.integration.status.test_snapshot import options, shown
from tests.phantoms import chest_film, write_film
from tests.services import typed_in
from worker.alarms import night_rules
from worker.audit import trail
from worker.db import schema
from worker.db.session import make_engine, reading, writing
from worker.db.tables import audit_event, instance, outbox
from worker.errors import WrongState
from worker.instances import find, reject, requeue
from worker.monitoring.labels import Truth, import_labels, truths
from worker.nightly.content import NightOptions, night_report
from worker.nightly.headline import judge
from worker.nightly.page.page import render
from worker.receiving import orphans
from worker.receiving.ingest import ArrivalKind, ingest
from worker.receiving.other_objects import record
from worker.status.queries import read
from worker.status.snapshot import StatusReader

SR = "1.2.840.10008.5.1.4.1.1.88.67"
UTC_ZONE = ZoneInfo("UTC")


def dose(name: str = "1.2.3", content: bytes = b"dose", **changes: Any) -> OtherObject:
    return replace(
        OtherObject(
            sop_class_uid=SR,
            sop_instance_uid=name,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            study_instance_uid="1.2",
            series_instance_uid="",
            modality="SR",
            digest=hashlib.sha256(content).hexdigest(),
            size=5000,
            path=None,
            calling_ae="CR1",
            called_ae="XRAYQ",
            fresh=False,
        ),
        **changes,
    )


@pytest.mark.parametrize("look", [1, 2])
def test_the_same_object_between_two_looks_is_not_overlooked(postgresql_url: str, look: int) -> None:
    database = make_engine(postgresql_url)
    schema.upgrade(database)
    done = after_look(look, database, lambda: record(database, dose()))
    assert record(database, dose())[0] is ArrivalKind.DUPLICATE
    with reading(database) as connection:
        assert connection.execute(select(instance.c.revision)).scalars().all() == [1]
    assert done
    database.dispose()


def count(database: Engine, table: Any) -> int:
    with reading(database) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_it_begins_and_ends_in_one_transaction(database: Engine) -> None:
    outcome, key = record(database, dose())
    assert outcome is ArrivalKind.NEW
    with reading(database) as connection:
        row = connection.execute(select(instance)).one()
        events = connection.execute(select(audit_event).order_by(audit_event.c.id)).all()
    assert (row.id, row.revision, row.state, row.reason) == (key, 1, "ineligible", "not_a_film")
    assert (row.is_film, row.in_spool, row.size, row.sop_class_uid, row.study_instance_uid) == (
        False, False, 5000, SR, "1.2",
    )  # fmt: skip
    assert row.finished_at == row.received_at
    assert [(one.action, one.actor, one.instance_id) for one in events] == [
        ("received", "CR1", key),
        ("ineligible", "gateway", key),
    ]
    assert events[1].detail == {"reason": "not_a_film", "sop_class": SR}
    assert count(database, outbox) == 0
    assert trail.verify(database).whole


def test_the_same_again_is_a_duplicate_and_other_bytes_a_revision(database: Engine) -> None:
    _, key = record(database, dose())
    assert record(database, dose()) == (ArrivalKind.DUPLICATE, key)
    outcome, second = record(database, dose(content=b"corrected"))
    assert outcome is ArrivalKind.REVISION
    assert [(one.id, one.revision) for one in find(database, "1.2.3")] == [(key, 1), (second, 2)]
    (sender,) = found(database)
    assert (sender.received, sender.revisions, sender.duplicates, sender.difference) == (2, 1, 1, 0)


def test_it_replaces_no_film_of_its_uid_and_no_film_replaces_it(database: Engine, spool: Spool, tmp_path: Path) -> None:
    path = write_film(tmp_path)
    received = store_file(path, spool, "XRAYQ")
    assert isinstance(received, Received)
    uid = received.header.sop_instance_uid
    _, film = ingest(database, spool, received)
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "sop_instance_uid,accession_number,label,reader,read_on\n"
        f"{uid},,normal,dr1,2026-11-05\n,{chest_film().AccessionNumber},covid19,dr2,2026-11-05\n"
    )
    import_labels(database, labels, FINDINGS, "operator:test")
    outcome, other = record(database, dose(uid))
    assert outcome is ArrivalKind.NEW
    with reading(database) as connection:
        assert truths(connection) == {film: Truth(label=None)}
    assert ingest(database, spool, store_file(path, spool, "XRAYQ")) == (ArrivalKind.DUPLICATE, film)
    assert record(database, dose(uid)) == (ArrivalKind.DUPLICATE, other)
    corrected = store_file(write_film(tmp_path, PatientID="PID-SECRET-2"), spool, "XRAYQ")
    assert isinstance(corrected, Received)
    outcome, second = ingest(database, spool, corrected)
    assert outcome is ArrivalKind.REVISION
    assert [(one.id, one.revision, one.replaced_by) for one in find(database, uid)] == [
        (film, 1, second),
        (other, 2, None),
        (second, 3, None),
    ]
    assert find(database, str(second))[0].identity_changed == ["PatientID"]
    with reading(database) as connection:
        assert truths(connection) == {second: Truth(label=None)}
    by_sender = {one.calling_ae: (one.received, one.revisions, one.difference) for one in found(database)}
    assert sum(received for received, _, _ in by_sender.values()) == 3
    assert {difference for _, _, difference in by_sender.values()} == {0}


def test_a_film_after_an_object_of_its_uid_is_a_first_film(database: Engine, spool: Spool, tmp_path: Path) -> None:
    received = store_file(write_film(tmp_path), spool, "XRAYQ")
    assert isinstance(received, Received)
    uid = received.header.sop_instance_uid
    record(database, dose(uid))
    labels = tmp_path / "labels.csv"
    labels.write_text(f"sop_instance_uid,accession_number,label,reader,read_on\n{uid},,normal,dr1,2026-11-05\n")
    assert import_labels(database, labels, FINDINGS, "operator:test").without_film == 1
    outcome, film = ingest(database, spool, received)
    assert (outcome, find(database, str(film))[0].identity_changed) == (ArrivalKind.NEW, None)
    assert count(database, outbox) == 1


def test_many_at_once_are_one_instance(database: Engine) -> None:
    with ThreadPoolExecutor(8) as threads:
        outcomes = sorted(outcome for outcome, _ in threads.map(lambda _: record(database, dose()), range(16)))
    assert outcomes == [ArrivalKind.DUPLICATE] * 15 + [ArrivalKind.NEW]
    assert trail.verify(database).whole


def test_a_database_that_is_away_is_told(database: Engine) -> None:
    with writing(database) as connection:
        connection.execute(text("ALTER TABLE instance RENAME TO elsewhere"))
    with pytest.raises(StoreUnavailable):
        record(database, dose())


def test_the_identity_holds_with_them(database: Engine, spool: Spool, tmp_path: Path) -> None:
    ended(database, sent(database, spool, tmp_path, "film"), "scored")
    for number in range(3):
        record(database, dose(f"1.2.{number}"))
    (sender,) = found(database)
    assert (sender.received, sender.scored, sender.ineligible, sender.difference) == (4, 1, {"not_a_film": 3}, 0)
    assert named(database) == {}
    with writing(database) as connection:
        connection.execute(update(instance).where(instance.c.sop_instance_uid == "1.2.1").values(state="scored"))
    assert named(database), "a row that was altered is found here too"


def test_a_study_rule_is_no_refusal_in_the_report(database: Engine, spool: Spool, tmp_path: Path) -> None:
    ended(database, sent(database, spool, tmp_path, "film"), "scored")
    for number in range(3):
        record(database, dose(f"1.2.{number}"))
    record(database, dose("1.2.9", calling_ae="CT1"))
    content = night_report(database, datetime.now(UTC).date(), NightOptions(zone=UTC_ZONE, drift=days.DRIFT))
    assert night_rules.conditions(content.facts) == []
    assert content.late == ()
    assert [source.calling_ae for source in content.sources] == ["CR1"]
    assert sum(hour.received for hour in content.turnaround.hours) == 1
    with reading(database) as connection:
        of_film = connection.execute(select(instance.c.size).where(instance.c.is_film)).scalar_one()
    assert content.storage.received == of_film
    headline = judge(content).headline
    assert headline.startswith("All 1 film and 4 other objects that reached us accounted for")
    assert "refused" not in " ".join(judge(content).remarks)
    page = render(content)
    assert page.without == ()
    assert "other objects, not scored" in page.html
    assert "not_a_film" not in page.html


def test_status_counts_them_apart(database: Engine, database_url: str, spool: Spool, tmp_path: Path) -> None:
    sent(database, spool, tmp_path, "film")
    record(database, dose())
    record(database, dose("1.2.9", calling_ae="CT1"))
    with reading(database) as connection:
        stored = read(connection, now=datetime.now(UTC) + timedelta(seconds=1), zone=UTC_ZONE, default="")
    assert [(one.calling_ae, one.received, one.ineligible, one.other) for one in stored.senders] == [
        ("CR1", 1, 0, 1),
        ("CT1", 0, 0, 1),
    ]
    assert (sum(stored.hour.received), sum(stored.hour.ended)) == (1, 0)
    lines = shown(StatusReader(options(database_url, spool.root)).look(), 80)
    assert "  beside them 2 objects that are no films" in [line.rstrip() for line in lines]
    assert not any("CT1" in line for line in lines)


def test_a_silent_sender_is_one_whose_films_stay_away(database: Engine) -> None:
    """Dose reports go on; and a CT, which never sent a film, is silent for nobody."""
    arrived(database, "CR1", mondays(range(4)))
    arrived(database, "CT1", mondays(range(4)))
    of_ct = instance.c.calling_ae == "CT1"
    with writing(database) as connection:
        connection.execute(update(instance).where(of_ct).values(is_film=False))
    assert [one.subject for one in silent(database, at(4, 9))] == ["CR1"]
    for minute in range(0, 60, 5):
        record(database, dose(f"1.2.{minute}"))
    with writing(database) as connection:
        connection.execute(update(instance).where(instance.c.sop_class_uid == SR).values(received_at=at(4, 8, 50)))
    assert [one.subject for one in silent(database, at(4, 9))] == ["CR1"]


@pytest.mark.parametrize("change", [requeue, reject])
def test_there_is_nothing_to_requeue_or_reject(database: Engine, change: Any) -> None:
    _, key = record(database, dose())
    with pytest.raises(WrongState, match="no film"):
        change(database, key, "operator:test")


def other_file(folder: Path, name: str = "dose") -> Path:
    return write_film(folder, name, SOPClassUID=SR, PixelData=None, Modality="SR")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_submit_takes_a_folder_with_other_objects(database: Engine, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    write_film(tmp_path / "study", "film")
    other_file(tmp_path / "study")
    with typed_in(tmp_path, database_url=database_url, home=str(tmp_path), spool_reserve_mib="1") as xrayq:
        code, out, _ = xrayq("submit", "study", "--json")
        assert code == 0
        results = {Path(one["file"]).stem: (one["outcome"], one["reason"]) for one in json.loads(out)}
        assert results == {"film": ("received", None), "dose": ("received", "not_a_film")}
        (number,) = (one["instance"] for one in json.loads(out) if one["reason"])
        code, out, _ = xrayq("instance", "show", str(number))
        assert code == 0
        assert "not_a_film" in out
        assert "SECRET" not in out.upper()
        assert "not_a_film: SR" in xrayq("instance", "list", "--state", "ineligible")[1]
        code, _, err = xrayq("instance", "requeue", str(number))
        assert (code != 0, "no film" in err) == (True, True)
        assert xrayq("replay", str(number))[0] != 0
        assert xrayq("audit", "verify")[0] == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_kept_one_is_in_the_spool_and_an_orphan_when_its_row_is_gone(
    database: Engine, database_url: str, spool: Spool, tmp_path: Path
) -> None:
    passed = store_file(other_file(tmp_path), spool, "XRAYQ")
    assert isinstance(passed, OtherObject)
    _, key = record(database, passed)
    kept = store_file(other_file(tmp_path), spool, "XRAYQ", keep_other_objects=True)
    assert isinstance(kept, OtherObject)
    assert record(database, kept) == (ArrivalKind.DUPLICATE, key)
    assert find(database, str(key))[0].in_spool
    lost = store_file(other_file(tmp_path, "lost"), spool, "XRAYQ", keep_other_objects=True)
    assert kept.path
    assert lost.path
    settled(kept.path, lost.path)
    assert orphans.orphans(database, spool.root) == [lost.digest]
    with typed_in(
        tmp_path, database_url=database_url, home=str(tmp_path), spool=str(spool.root), spool_reserve_mib="1"
    ) as xrayq:
        assert xrayq("submit", "--orphans")[0] == 0
    assert orphans.orphans(database, spool.root) == []
