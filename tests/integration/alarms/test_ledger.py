"""Alarms on both databases: raised once, followed, cleared, audited; no patient in any of it."""

import json
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, delete, insert, select, update

from dicom_gateway.local import store_file
from dicom_gateway.peers import Connected
from dicom_gateway.spool import Spool
from tests import days
from tests.alarms import BOTH, LIVE, alarms, arrived, audited, condition, errand_keys, limits, refused, settled
from tests.integration.audit.test_reconciliation import ended, sent
from tests.night_reports import labelled, rate
from tests.phantoms import write_film
from tests.receivers import mailer
from worker.alarms import ledger, live_rules, mail, night_rules
from worker.alarms.change import Change
from worker.alarms.rules import RULES, Condition
from worker.audit import trail
from worker.audit_messages import feed
from worker.db.session import make_engine, reading, writing
from worker.db.tables import audit_event, commitment_request, errand, instance, outbox
from worker.logs import JsonFormatter
from worker.nightly.content import NightOptions, night_report
from worker.pacs import keeping
from worker.pacs.comparing import Comparison, MissingFilm, Why
from worker.queue import errands
from worker.queue.errands import Kind
from worker.receiving.ingest import ingest

# the ledger

UNSENT = "1.2.826.0.1.999"
"""UIDs of a film that a PACS has."""


def test_an_alarm_is_raised_once_followed_and_cleared_once(database: Engine) -> None:
    (raised,) = settled(database, condition(value=700))
    assert settled(database, condition(value=900)) == []
    (row,) = alarms(database)
    assert (row.value, row.text, row.cleared_at) == (900, "backlog is 900", None)
    (cleared,) = settled(database)
    assert settled(database) == []
    assert [(one.alarm, one.state, one.value) for one in (raised, cleared)] == [
        (row.id, "raised", 700),
        (row.id, "cleared", 900),
    ]
    assert alarms(database)[0].cleared_at is not None
    detail = {"alarm": row.id, "rule": "backlog", "subject": "", "threshold": 600}
    assert audited(database) == [
        ("alarm_raised", detail | {"value": 700}),
        ("alarm_cleared", detail | {"value": 900}),
    ]
    assert errand_keys(database) == [(kind, f"{row.id}:{state}") for state in ("raised", "cleared") for kind in BOTH]
    assert trail.verify(database).whole


def test_one_that_comes_again_is_another_alarm(database: Engine) -> None:
    for found in ([condition()], [], [condition()]):
        settled(database, *found)
    first, second = alarms(database)
    assert first.cleared_at is not None
    assert second.cleared_at is None
    assert len(errand_keys(database)) == 6


def test_each_subject_has_its_own(database: Engine) -> None:
    settled(database, condition("sender_silent", "CR1"), condition("sender_silent", "CR2"))
    (cleared,) = settled(database, condition("sender_silent", "CR2"))
    assert (cleared.subject, cleared.state) == ("CR1", "cleared")


def test_rules_that_were_not_looked_at_are_left_alone(database: Engine) -> None:
    settled(database, condition("unaccounted", "CR1"), rules=frozenset({"unaccounted"}))
    assert settled(database, rules=LIVE) == []
    assert len(settled(database, rules=LIVE | {"unaccounted"})) == 1


def test_what_rolls_back_leaves_nothing(database: Engine) -> None:
    with database.connect() as connection, connection.begin() as transaction:
        ledger.settle(connection, LIVE, [condition()], BOTH)
        transaction.rollback()
    assert (alarms(database), audited(database), errand_keys(database)) == ([], [], [])


def test_several_relays_raise_and_clear_one_alarm(database_url: str, database: Engine) -> None:
    """Each with an engine of its own, as processes have; all at once."""
    relays = [make_engine(database_url) for _ in range(5)]
    for found in ([condition(), condition("spool_space")], []):
        start = threading.Barrier(len(relays))

        def relay(engine: Engine, found: list[Condition] = found, start: threading.Barrier = start) -> list[Change]:
            start.wait(timeout=20)
            return settled(engine, *found)

        with ThreadPoolExecutor(len(relays)) as threads:
            changes = [change for one in threads.map(relay, relays) for change in one]
        assert sorted(change.rule for change in changes) == ["backlog", "spool_space"]
    assert len(alarms(database)) == 2
    assert len(audited(database)) == 4
    assert len(errand_keys(database)) == 8
    for engine in relays:
        engine.dispose()


def test_a_relay_looks_only_when_another_has_settled(postgresql_url: str, database_url: str, database: Engine) -> None:
    """What it sees is then never older than what the other committed."""
    other, order = make_engine(database_url), []

    def look() -> None:
        with writing(other) as connection:
            ledger.take_turn(connection)
            order.append(len(ledger.open_alarms(connection)))

    with writing(database) as connection:
        ledger.settle(connection, LIVE, [condition()], ())
        late = threading.Thread(target=look)
        late.start()
        late.join(timeout=0.3)
        assert late.is_alive()
    late.join(timeout=20)
    assert order == [1]
    other.dispose()


# no PHI


def test_nothing_of_a_patient_gets_into_an_alarm(
    database: Engine, spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every rule broken with real films; every place an alarm goes to is searched for every value of the data sets."""
    keys = [sent(database, spool, tmp_path, f"film{number}") for number in range(4)]
    ended(database, keys[0], "failed", "corrupt_pixels")
    held = replace(store_file(write_film(tmp_path, "held"), spool, "XRAYQ"), calling_ae="CR1")  # type: ignore[type-var]
    ingest(database, spool, held, unknown=Connected(calling_ae="CR1", address="192.0.2.1"))
    now = datetime.now(UTC)
    times = [now - timedelta(weeks=week, minutes=minute) for week in (1, 2) for minute in range(10, 40)]
    arrived(database, "CR2", [*times, now - timedelta(weeks=4)])
    with writing(database) as connection:
        feed.begin(connection)
        connection.execute(delete(outbox).where(outbox.c.instance_id == keys[1]))
        connection.execute(update(audit_event).where(audit_event.c.instance_id == keys[2]).values(actor="someone"))
        errands.add(connection, Kind.NIGHT, f"{now.date() - timedelta(days=5)}", now)
        lost = {"since": now.isoformat(), "reason": "no_connection", "destination": "PACS@pacs.test:104"}
        about = {"instance_id": keys[3], "destination": "PACS@pacs.test:104"}
        errands.add(connection, Kind.LOST_RESULT, f"{keys[3]}-1", now, lost, **about)
        uid = select(instance.c.sop_instance_uid).where(instance.c.id == keys[3])
        request = {"calling_ae": "CR1", "transaction_uid": "2.25.1", "asked_at": now - timedelta(hours=2)}
        request["asked"] = {connection.execute(uid).scalar_one(): "1.2.3"}
        connection.execute(insert(commitment_request).values(request))
        connection.execute(
            update(instance).where(instance.c.calling_ae == "CR1").values(received_at=now, finished_at=now)
        )
        missing = MissingFilm(
            **dict.fromkeys(("sop_instance_uid", "study_instance_uid", "series_instance_uid"), UNSENT),
            **dict.fromkeys(("modality", "film_at", "accession_digest"), ""),
            why=Why.NEVER_SENT,
        )
        compared = Comparison(films=1, here=0, on_its_way=0, missing=(missing,))
    keeping.keep(database, "ARCHIVE", now.date(), compared, unreadable=0, now=now)
    refused(database, CR1=[0xC001] * 20)
    orphan = store_file(write_film(tmp_path, "lost"), spool, "XRAYQ").path
    os.utime(orphan, (0, 0))
    certificate = tmp_path / "own.pem"
    certificate.write_text("no PEM")
    options_ = NightOptions(zone=ZoneInfo("UTC"), drift=days.DRIFT, spool=spool.root)
    content = replace(
        night_report(database, now.date(), options_), performance=labelled(sensitivity=rate(24, 40, alarm=True))
    )
    with caplog.at_level(logging.INFO, "xrayq"):
        broken: dict[str, Any] = {
            "spool_mib": 1 << 40,
            "backlog_seconds": 0,
            "certificate": certificate,
            "audit_minutes": -1,
        }
        changes = live_rules.watch(database, limits(spool=spool.root, **broken), BOTH)
        with writing(database) as connection:
            found = night_rules.conditions(content.facts)
            changes += ledger.settle(connection, night_rules.looked_at(content.facts), found, BOTH)
        ledger.tell(changes)
    told = {change.rule for change in changes}
    assert told == {rule.id for rule in RULES} - {"drift", "report_failed", "database"}

    options = mailer(25, site="X")
    places = [mail.compose(options, change).as_string() for change in changes]
    places += [json.dumps(change.message("X")) for change in changes]
    places += [JsonFormatter().format(record) for record in caplog.records]
    with reading(database) as connection:
        rows = list(connection.execute(select(instance).where(instance.c.calling_ae == "CR1")))
        places += [str(row.payload) for row in connection.execute(select(errand))]
        about = select(audit_event.c.detail).where(audit_event.c.action.like("alarm%"))
        places += [str(detail) for detail in connection.execute(about).scalars()]
    places += [str(row) for row in alarms(database)]
    columns = ("sop_instance_uid", "study_instance_uid", "series_instance_uid", "digest", "accession_digest")
    secrets = {str(getattr(row, name)) for row in rows for name in columns} | {"Secret", "PID-", "ACC-", str(tmp_path)}
    secrets |= {orphan.stem, UNSENT}
    assert all(secrets)
    assert [(secret, place) for secret in secrets for place in places if secret in place] == []
