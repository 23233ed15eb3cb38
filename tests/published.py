"""A fixed installation: three weeks of films, alarms and changes, the same on every machine, for what is published.

Nothing in it comes from a clock, a disk or a network of the machine: times are set, and scores are drawn and rounded.
"""

import os
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, insert, select, text, update

from dicom_gateway.spool import Spool
from model import bundle as bundles
from tests import days
from tests.still import Clock
from worker.alarms import acknowledge, deliver, ledger
from worker.alarms.change import Change
from worker.alarms.rules import Condition
from worker.audit import trail
from worker.bundles import roles as deployment
from worker.bundles.roles import PlacedBundle
from worker.db.session import writing
from worker.db.span import Span
from worker.db.tables import (
    audit_event,
    errand,
    film_measure,
    finding_score,
    instance,
    label_sample,
    outbox,
    score,
    truth,
)
from worker.errors import Undelivered
from worker.monitoring.drift_reference import freeze_missing
from worker.nightly import published as made
from worker.pacs import keeping
from worker.pacs.comparing import Comparison, MissingFilm, Why
from worker.queue import errands
from worker.queue.errands import Kind
from worker.receiving.refusals import Refusals
from worker.states import Role

DAY = date(2026, 11, 20)
"""A Friday, the one that the night reports on."""
NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)
OPERATOR = "operator:alex"
NEXT, OLD = "5" * 64, "6" * 64
"""Digests of bundles that are nowhere on the disk."""
GONE = 9000
"""Id of an instance that was removed."""


def fill(database: Engine, clock: Clock, spool: Path) -> int:
    """Three weeks up to NOW, where the clock then stands. Returns the id of a film that came again as another's."""
    _weeks_before(database, clock)
    keys = _night(database, clock)
    _came_again(database, clock, keys)
    clock.set(_at(15))
    _turned_away(database)
    _alarms(database, clock)
    _lost(database, clock, keys)
    _orphans(spool)
    _pacs(database)
    _today(database, clock)
    return keys[0]


def _pacs(database: Engine) -> None:
    """Two PACSs: one has five films that did not come, the other was away."""
    whys = {Why.NEVER_SENT: 2, Why.CONTEXT_REFUSED: 1, Why.REFUSED: 1, Why.QUARANTINED: 1}
    missing = [
        MissingFilm(
            sop_instance_uid=f"1.2.{len(why)}.{number}",
            study_instance_uid="1.2.3",
            series_instance_uid="1.2.3.1",
            modality="DX",
            film_at=f"{DAY} 10:15",
            accession_digest="",
            why=why,
            status="0xA900" if why is Why.REFUSED else None,
            calling_ae="CR_WARD" if why in (Why.REFUSED, Why.CONTEXT_REFUSED) else "",
        )
        for why, films in whys.items()
        for number in range(1, films + 1)
    ]
    found = Comparison(films=80, here=74, on_its_way=1, missing=tuple(missing))
    keeping.keep(database, "ARCHIVE", DAY, found, unreadable=1, now=NOW)
    with writing(database) as connection:
        keeping.keep_fault(connection, "CLINIC", DAY, "no_connection", NOW)


def _at(hour: float, day: date = DAY) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour)


def _weeks_before(database: Engine, clock: Clock) -> None:
    """References of drift, bundles, a day without a report, and films that waited for days."""
    before = DAY - timedelta(days=8)
    days.fill(database, before, 330, seed=21)
    _round(database)
    clock.set(_at(1, before + timedelta(days=1)))
    span = Span(start=_at(0, before), end=_at(24, before))
    freeze_missing(database, span, films=100, actor="relay")
    clock.set(_at(-48))
    detail = {"date": "2026-11-17", "reason": "took more than 600 s", "attempts": 3}
    _audit(database, made.GIVEN_UP, "relay", detail)
    fixed: dict[str, Any] = {"version": "0.2.0", "role": Role.SHADOW, "changed_at": None, "changed_by": ""}
    for digest, name in ((OLD, "older"), (NEXT, "next")):
        one = PlacedBundle(digest=digest, name=name, path=f"/srv/bundles/{name}", **fixed)
        deployment.shadow(database, one, default=None, actor=OPERATOR)
    deployment.retire(database, OLD, OPERATOR)
    thursday = days.fill(database, DAY - timedelta(days=1), 12, seed=22)
    days.wait(database, thursday[:3], queued=True)
    days.wait(database, thursday[3:4], queued=False)
    clock.set(_at(0.1))
    times = {"start": _at(-25), "end": _at(-1), "looked_at": _at(0)}  # the zone's midnights
    detail = {"date": "2026-11-19", "digest": "7" * 64, "files": {}, "difference": 0, "alarms": [], "anchor": None}
    _audit(database, made.ACTION, "relay", detail | {name: time.isoformat() for name, time in times.items()})
    _ended(database, thursday[0], "scored", _at(9))
    _ended(database, thursday[1], "failed", _at(9.5), "corrupt_pixels")


def _night(database: Engine, clock: Clock) -> list[int]:
    """The day's films: a device that drifts, labels, a shadow's scores. Returns ids of scored and labelled ones."""
    clock.set(_at(8))
    live = deployment.by_settings(None)
    deployment.activate(database, live, default=None, actor=OPERATOR)
    shares = days.Shares(ineligible=0.1, failed=0.06, labelled=0.6)
    keys = days.fill(database, DAY, 72, shares=shares, seed=23)
    days.brighten(database, keys, "CR_EMERGENCY", 0.2)
    _round(database)
    _shadow(database, keys)
    with writing(database) as connection:
        of_film = truth.c.sop_instance_uid == instance.c.sop_instance_uid
        which = instance.c.id.in_(keys)
        rows = connection.execute(
            select(instance.c.id, truth).join(truth, of_film).where(which).order_by(instance.c.id)
        )
        labelled = rows.all()
        disputed = {name: getattr(labelled[3], name) for name in truth.c.keys() if name != "id"}  # noqa: SIM118
        other = "normal" if disputed["label"] != "normal" else "pneumonia"
        connection.execute(insert(truth), disputed | {"reader": "reader2", "label": other})
        for number, key in enumerate(keys):  # a third of the films are unsure
            sets = ([["normal"], ["pneumonia", "covid19"], ["covid19"]], [["normal"], [], ["covid19"]])[number % 2]
            of_key = (score.c.instance_id == key) & (score.c.role == "live")
            connection.execute(update(score).where(of_key).values(prediction_set=sets[number % 3]))
        first_score = select(score.c.id).where(score.c.instance_id == labelled[0].id, score.c.role == "live")
        sure = {"prediction_set": ["normal", "pneumonia"], "notes": ["view"]}
        connection.execute(update(score).where(score.c.id.in_(first_score)).values(sure))
        intervals = {"interval_low": 0.125, "interval_high": 0.25, "flag": True}
        connection.execute(update(finding_score).where(finding_score.c.score_id.in_(first_score)).values(intervals))
        drawn = [{"draw": "november", "instance_id": key, "drawn_at": _at(8)} for key in keys[: len(keys) // 2]]
        connection.execute(insert(label_sample), drawn)
    _audit(
        database, "labels_drawn", OPERATOR, {"draw": "november", "films": len(drawn), "seed": 20, "bundle": "6" * 64}
    )
    _audit(database, "labels_imported", OPERATOR, {"digest": "8" * 64, "new": 44, "corrected": 0})
    return [row.id for row in labelled]


def _shadow(database: Engine, keys: list[int]) -> None:
    """Scores of the bundle NEXT for most of the films."""
    with writing(database) as connection:
        first = connection.execute(select(func.max(score.c.id))).scalar_one() + 1
        rows = connection.execute(select(score).where(score.c.instance_id.in_(keys)).order_by(score.c.id)).all()
        for number, row in enumerate(rows[5:]):
            values = dict(row._mapping) | {"id": first + number, "bundle_digest": NEXT, "role": "shadow"}
            connection.execute(insert(score), values)
            findings = connection.execute(
                select(finding_score).where(finding_score.c.score_id == row.id).order_by(finding_score.c.finding)
            ).all()
            for one in findings:
                probability = round(min(1.0, one.probability + (0.25 if number % 7 == 0 else 0.015625)), 6)
                point = one.operating_point
                said = {"score_id": first + number, "probability": probability}
                said["flag"] = point is not None and probability >= point
                connection.execute(insert(finding_score), dict(one._mapping) | said)
    _audit(database, "shadow_skipped", "worker", {"bundle": NEXT, "films": 5, "reason": "ModelError"})


def _came_again(database: Engine, clock: Clock, keys: list[int]) -> None:
    """Films under a known UID, one of another patient; the same once more; and an object that is no film."""
    clock.set(_at(14))
    with writing(database) as connection:
        first = connection.execute(select(func.max(instance.c.id))).scalar_one() + 1
        again = {"revision": 2, "state": "ineligible", "reason": "view", "received_at": _at(13), "finished_at": _at(13)}
        for number, changed in enumerate((["PatientID", "Laterality"], ["unknown"])):
            row = connection.execute(select(instance).where(instance.c.id == keys[number])).one()
            values = again | {"id": first + number, "identity_changed": changed, "digest": f"{first + number:064x}"}
            connection.execute(insert(instance), dict(row._mapping) | values)
        other = dict(row._mapping) | again
        other |= {"id": first + 2, "revision": 1, "sop_instance_uid": "1.2.826.0.1.3680043.10.1.0.1", "is_film": False}
        other |= {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.67", "modality": "SR", "reason": "not_a_film"}
        other |= {"in_spool": False, "body_part": "", "view_position": ""}
        connection.execute(insert(instance), other)
        arrived = (("revision", first), ("revision", first + 1), ("received", first + 2))
        events = [trail.event(action=action, instance_id=key, actor=other["calling_ae"]) for action, key in arrived]
        events[0]["detail"] = {"before": keys[0], "identity_changed": ["PatientID", "Laterality"]}
        events += [trail.event(action="ineligible", instance_id=key, actor="worker") for _, key in arrived]
        for demographics in ({"demographics_changed": ["PatientName"]}, {}):
            events.append(trail.event(action="duplicate", instance_id=keys[4], actor="DX_WARD", detail=demographics))
        trail.record_all(connection, [event | {"at": _at(13)} for event in events])


def _turned_away(database: Engine) -> None:
    """C-STOREs, presentation contexts and associations."""
    counts = Refusals()
    for status in (0xA700, 0xA700, 0xC002):
        counts.stored("DX_WARD", status, 0, 0.0)
    counts.stored("=1+1", 0xA701, 0, 0.0)
    counts.context_refused("MOBILE_1", "Storage Commitment Push Model SOP Class", "abstract_syntax")
    counts.context_refused("MOBILE_1", "Digital X-Ray Image Storage - For Presentation", "transfer_syntax")
    counts.rejected("STRANGER", "CALLING_AE")
    counts.rejected("", "NO_REQUEST")
    counts.write(database)


def _alarms(database: Engine, clock: Clock) -> None:
    """One over, one open, one acknowledged; a mail that waits, and a webhook call that was given up."""
    backlog = Condition(rule="backlog", value=700, threshold=600, text="the oldest film waits for 700 s")
    silent = Condition(
        rule="sender_silent", subject="CR_OLD", value=12, threshold=10, text="CR_OLD sent no new film since noon"
    )
    gone = Condition(rule="unaccounted", subject="CR_OLD", value=1, threshold=0, text="1 film is lost", about=("17",))
    drift = Condition(
        rule="drift", subject="CR_EMERGENCY", value=3.0, threshold=0.1, text="brighter", about=("brightness",)
    )
    both = (Kind.MAIL, Kind.WEBHOOK)
    clock.set(_at(10))
    with writing(database) as connection:
        ledger.settle(connection, ("backlog", "sender_silent"), [backlog, silent, gone, drift], both)
    clock.set(_at(11))
    acknowledge.acknowledge(database, "unaccounted", "CR_OLD", why="film 17 is lost, came as 42", actor=OPERATOR)
    acknowledge.acknowledge(database, "drift", "CR_EMERGENCY", why="new detector since Monday", actor=OPERATOR)
    with writing(database) as connection:
        ledger.settle(connection, ("backlog",), [], both)

    def refuse(_: Change) -> int:
        raise Undelivered("http_500")

    deliver.deliver_due(database, Kind.WEBHOOK, refuse, deliver.DeliveryOptions(attempts=1))
    deliver.deliver_due(database, Kind.MAIL, refuse, deliver.DeliveryOptions(attempts=9))
    with writing(database) as connection:
        errands.add(connection, Kind.NIGHT, "2026-11-20", NOW + timedelta(minutes=10))
        late = errand.c.kind == Kind.NIGHT
        connection.execute(update(errand).where(late).values(attempts=1))


def _lost(database: Engine, clock: Clock, keys: list[int]) -> None:
    """A film that ended before it came; and films that are not accounted for: one in nobody's queue, one without its
    score, one whose row is gone."""
    clock.set(_at(20))
    days.wait(database, keys[-1:], queued=False)
    days.wait(database, keys[-2:-1], queued=True)
    with writing(database) as connection:
        connection.execute(update(instance).where(instance.c.id == keys[-4]).values(finished_at=_at(0)))
        live = score.c.instance_id == keys[-3]
        connection.execute(finding_score.delete().where(finding_score.c.score_id.in_(select(score.c.id).where(live))))
        connection.execute(score.delete().where(live))
        row = connection.execute(select(instance).where(instance.c.id == keys[0])).one()
        values = dict(row._mapping) | {"id": GONE, "sop_instance_uid": "1.2.3.4", "received_at": _at(19)}
        connection.execute(insert(instance), values)
        arrival = trail.event(action="received", instance_id=GONE, actor=row.calling_ae)
        trail.record_all(connection, [arrival | {"at": _at(19)}])
    _remove(database, GONE)


def break_trail(database: Engine) -> None:
    """Alter a row of the audit trail."""
    with writing(database) as connection:
        row = audit_event.c.action == made.GIVEN_UP
        connection.execute(update(audit_event).where(row).values(actor="nobody"))


def _remove(database: Engine, key: int) -> None:
    """As somebody who owns the database can: past its foreign keys."""
    if database.dialect.name == "sqlite":
        with closing(sqlite3.connect(str(database.url.database), isolation_level=None)) as connection:
            connection.execute("DELETE FROM instance WHERE id = ?", (key,))
        return
    with writing(database) as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(instance.delete().where(instance.c.id == key))


def _orphans(folder: Path) -> None:
    """Two files of the spool that the database does not know, an hour old."""
    spool = Spool(folder)
    spool.prepare()
    for digit in "ab":
        path = spool.path_of(digit * 64)
        path.write_bytes(b"")
        old = (NOW - timedelta(hours=1)).timestamp()
        os.utime(path, (old, old))


def _today(database: Engine, clock: Clock) -> None:
    """Saturday's first hours: films that were scored, failed, wait, and are with a worker."""
    clock.set(NOW)
    came = [NOW - timedelta(minutes=number, seconds=20) for number in (100, 50, 42, 31, 30, 17, 9, 8, 4, 1)]
    keys = days.fill(
        database, DAY + timedelta(days=1), len(came), shares=days.Shares(ineligible=0.2, failed=0.2), seed=24, came=came
    )
    _round(database)
    days.wait(database, keys[-3:], queued=True)
    with writing(database) as connection:
        leased = outbox.c.instance_id == keys[-3]
        connection.execute(update(outbox).where(leased).values(lease_until=NOW + timedelta(minutes=1), claims=1))
    _turned_away(database)


def _ended(database: Engine, key: int, state: str, at: datetime, reason: str | None = None) -> None:
    """What a worker writes of a film that waited."""
    with writing(database) as connection:
        values = {"state": state, "reason": reason, "finished_at": at}
        connection.execute(update(instance).where(instance.c.id == key).values(values))
        connection.execute(outbox.delete().where(outbox.c.instance_id == key))
        detail: dict[str, Any] = {"reason": reason}
        if state == "scored":
            live = bundles.load(bundles.REFERENCE)
            first = connection.execute(select(func.max(score.c.id))).scalar_one() + 1
            detail = {"bundle": live.digest}
            about = {"bundle_digest": live.digest, "engine": "onnxruntime-int8", "software_version": "0.1.0"}
            connection.execute(insert(score), about | {"id": first, "instance_id": key, "scored_at": at})
            said = {"score_id": first, "finding": "pneumonia", "logit": 2.0, "probability": 0.75, "flag": True}
            connection.execute(insert(finding_score), said | {"operating_point": 0.5, "operating_point_id": "p"})
        event = trail.event(action=state, instance_id=key, actor="worker", detail=detail)
        trail.record_all(connection, [event | {"at": at}])


def _audit(database: Engine, action: str, actor: str, detail: dict[str, Any]) -> None:
    with writing(database) as connection:
        trail.record(connection, action=action, instance_id=None, actor=actor, detail=detail)


def _round(database: Engine) -> None:
    """What was drawn, to six digits: the last ones of exp() and log() differ between processors."""
    with writing(database) as connection:
        for table, names in (
            (film_measure, ("brightness", "contrast", "entropy", "clipped", "distance")),
            (finding_score, ("logit", "probability")),
        ):
            keys = list(table.primary_key)
            for row in connection.execute(select(table)).all():
                same = [column == getattr(row, column.name) for column in keys]
                values = {name: round(getattr(row, name), 6) for name in names}
                connection.execute(update(table).where(*same).values(values))
