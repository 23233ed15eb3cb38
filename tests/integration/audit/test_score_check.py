"""Scores held against the audit trail on both databases, after everything that a person could do to one."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Update, delete, insert, select, update

from model import bundle as bundles
from model.bundle import Bundle
from model.findings import FINDINGS
from model.scorer import Composite, Score
from worker.audit import score_check, score_digests, trail
from worker.audit.score_check import Found, LookedAt, ScoreCheck
from worker.db import scores
from worker.db.session import writing
from worker.db.tables import audit_event, finding_score, instance, score
from worker.states import Role

NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
SHADOW, OTHER = "5" * 64, "6" * 64
"""Digests of bundles that are nowhere on the disk."""
SAID = Score(
    logits=dict(zip(FINDINGS, (-1.25, 2.1, 0.1), strict=True)),
    probabilities=dict(zip(FINDINGS, (0.03, 0.85, 0.12), strict=True)),
    flags=("not_normal", "pneumonia"),
    thresholds={"not_normal": 0.3, "pneumonia": 0.4, "covid19": 0.5},
    composite=Composite(logit=1 / 3, probability=0.97),
    intervals={"pneumonia": (0.7, 0.9)},
    prediction_set=("pneumonia",),
    device="",
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return bundles.load(bundles.REFERENCE)


def receive(database: Engine, count: int) -> list[int]:
    """Films of which nobody knows more than that they came."""
    about = dict.fromkeys(
        (
            *("sop_class_uid", "transfer_syntax_uid", "study_instance_uid", "series_instance_uid"),
            *("calling_ae", "called_ae", "modality", "body_part", "view_position"),
        ),
        "1",
    )
    rows = [
        about | {"sop_instance_uid": f"1.2.{at}", "revision": 1, "digest": "0" * 64, "size": 1, "state": "scored"}
        for at in range(count)
    ]
    with writing(database) as connection:
        keys = [
            int(connection.execute(insert(instance).returning(instance.c.id), row | {"received_at": NOW}).scalar_one())
            for row in rows
        ]
        trail.record_all(connection, [trail.event(action="received", instance_id=key, actor="CR1") for key in keys])
    return keys


def write(database: Engine, bundle: Bundle, keys: list[int], *, kept: bool = True, said: Score = SAID) -> None:
    """A live score of each film and its event, as the score task writes them.

    Args:
        kept: whether the digest is, which a release before did not.
    """
    with writing(database) as connection:
        new = [scores.NewScore(instance_id=key, score=said, notes=("view",)) for key in keys]
        scores.write(connection, bundle, "onnxruntime-fp32", Role.LIVE, new, NOW + timedelta(microseconds=1))
        digests = score_digests.written(connection, bundle.digest, keys)
        tell(connection, "scored", bundle.digest, {key: digests[key] if kept else None for key in keys})


def tell(connection: Connection, action: str, bundle: str, digests: dict[int, str | None]) -> None:
    details = {key: {"bundle": bundle} | ({"score": digest} if digest else {}) for key, digest in digests.items()}
    events = [
        trail.event(action=action, instance_id=key, actor="worker", detail=detail) for key, detail in details.items()
    ]
    trail.record_all(connection, events)


def copy(connection: Connection, key: int, **changes: Any) -> None:
    """The film's first score once more, with changes."""
    row = connection.execute(select(score).where(score.c.instance_id == key).order_by(score.c.id).limit(1)).one()
    values = {name: value for name, value in row._mapping.items() if name != "id"} | changes
    new = connection.execute(insert(score).returning(score.c.id), values).scalar_one()
    for finding in connection.execute(select(finding_score).where(finding_score.c.score_id == row.id)).all():
        connection.execute(insert(finding_score), dict(finding._mapping) | {"score_id": new})


def of(key: int) -> Any:
    """The films' findings."""
    return finding_score.c.score_id.in_(select(score.c.id).where(score.c.instance_id == key))


def in_finding(**values: Any) -> Callable[[int], Update]:
    return lambda key: update(finding_score).where(of(key), finding_score.c.finding == "covid19").values(**values)


def in_score(**values: Any) -> Callable[[int], Update]:
    return lambda key: update(score).where(score.c.instance_id == key).values(**values)


ALTERED: dict[str, Callable[[int], Any]] = {
    "probability": in_finding(probability=0.12000000000000001),
    "logit": in_finding(logit=0.1 + 2**-56),
    "flag": in_finding(flag=True),
    "threshold": in_finding(operating_point=0.25),
    "no threshold": in_finding(operating_point=None),
    "name of the operating point": in_finding(operating_point_id="mine"),
    "interval": in_finding(interval_low=0.1, interval_high=0.2),
    "finding": in_finding(finding="normal?"),
    "a finding less": lambda key: delete(finding_score).where(of(key), finding_score.c.finding == "normal"),
    "no finding": lambda key: delete(finding_score).where(of(key)),
    "prediction set": in_score(prediction_set=["pneumonia", "covid19"]),
    "no prediction set": in_score(prediction_set=None),
    "notes": in_score(notes=None),
    "device": in_score(device="room-2"),
    "engine": in_score(engine="tensorrt-fp16"),
    "version": in_score(software_version="9"),
    "time": in_score(scored_at=NOW),
    "role": in_score(role="shadow"),
}


def named(check: ScoreCheck) -> list[tuple[int, str, Found]]:
    return [(one.instance_id, one.bundle, one.found) for one in check.named]


def test_no_score_is_wrong(database: Engine) -> None:
    assert score_check.check(database) == ScoreCheck()


def test_scores_that_nobody_touched(database: Engine, bundle: Bundle) -> None:
    """A live one and a shadow's of each film; of a third nobody wrote one."""
    keys = receive(database, 3)
    write(database, bundle, keys[:2])
    with writing(database) as connection:
        for key in keys[:2]:
            copy(connection, key, bundle_digest=SHADOW, role="shadow")
        tell(connection, "shadow_scored", SHADOW, dict(score_digests.written(connection, SHADOW, keys)))
    verdict = trail.verify(database)
    assert (verdict.whole, verdict.rows, verdict.scores) == (True, 7, ScoreCheck(checked=4))
    assert verdict.scores.words == "4 scores held against the trail"


def test_every_deed_is_named(database: Engine, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A film for each, in chunks of three."""
    monkeypatch.setattr(score_check, "CHUNK", 3)
    gone, added, moved, one, other, empty, *keys = receive(database, 6 + len(ALTERED))
    films = dict(zip(ALTERED, keys, strict=True))
    write(database, bundle, [*films.values(), gone, added, moved, one])
    write(database, bundle, [other], said=replace(SAID, prediction_set=("covid19",)))
    assert score_check.check(database) == ScoreCheck(checked=len(films) + 5)
    with writing(database) as connection:
        for deed, key in films.items():
            connection.execute(ALTERED[deed](key))
        connection.execute(delete(finding_score).where(of(gone)))
        connection.execute(delete(score).where(score.c.instance_id == gone))
        copy(connection, added, bundle_digest=SHADOW, role="shadow")
        copy(connection, added, bundle_digest=OTHER)
        for key, place in ((one, empty), (other, one), (empty, other), (moved, empty)):
            connection.execute(in_score(instance_id=place)(key))
    found = score_check.check(database)
    assert named(found) == [
        (gone, bundle.digest, Found.GONE),
        (added, SHADOW, Found.SLIPPED_IN),
        (added, OTHER, Found.SLIPPED_IN),
        (moved, bundle.digest, Found.GONE),
        (one, bundle.digest, Found.ALTERED),
        (other, bundle.digest, Found.ALTERED),
        (empty, bundle.digest, Found.SLIPPED_IN),
        *((key, bundle.digest, Found.ALTERED) for key in films.values()),
    ]
    assert (found.checked, found.wrong) == (1, len(found.named))
    assert found.fault == (
        f"scores and the audit trail differ: the score of instance {gone} by bundle {bundle.digest[:12]} is gone, "
        f"and {found.wrong - 1} more"
    )


def test_more_than_can_be_named_are_counted(database: Engine, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_check, "MOST_NAMED", 2)
    keys = receive(database, 3)
    write(database, bundle, keys)
    with writing(database) as connection:
        connection.execute(update(finding_score).values(probability=0.5))
    found = score_check.check(database)
    assert (found.wrong, [one.instance_id for one in found.named]) == (3, keys[:2])


def test_scores_of_a_release_before_are_counted(database: Engine, bundle: Bundle) -> None:
    """What was slipped in beside them is found all the same."""
    keys = receive(database, 3)
    write(database, bundle, keys[:2], kept=False)
    write(database, bundle, keys[2:])
    with writing(database) as connection:
        copy(connection, keys[0], bundle_digest=SHADOW, role="shadow")
    assert trail.verify(database).scores == ScoreCheck(checked=1, before=3)
    with writing(database) as connection:
        copy(connection, keys[0], bundle_digest=OTHER)
        copy(connection, keys[2], bundle_digest=SHADOW, role="shadow")
    verdict = trail.verify(database)
    assert (verdict.whole, verdict.fault, verdict.scores.before) == (False, "", 3)
    assert named(verdict.scores) == [(keys[0], OTHER, Found.SLIPPED_IN), (keys[2], SHADOW, Found.SLIPPED_IN)]
    assert verdict.scores.words == "1 score held against the trail; 3 scores of a release before cannot be checked"


def test_an_event_that_was_appended_later_vouches_for_nothing(database: Engine, bundle: Bundle) -> None:
    """It needs no new chain: who can write the database can append to it."""
    first, before = receive(database, 2)
    write(database, bundle, [first])
    write(database, bundle, [before], kept=False)
    with writing(database) as connection:
        connection.execute(update(finding_score).values(probability=0.5))
        digests = score_digests.written(connection, bundle.digest, [first, before])
        tell(connection, "scored", bundle.digest, dict(digests))
        for action, name in (("scored", OTHER), ("shadow_scored", SHADOW)):
            copy(connection, first, bundle_digest=name)
            tell(connection, action, name, dict(score_digests.written(connection, name, [first])))
    verdict = trail.verify(database)
    assert not verdict.fault
    faults = ((SHADOW, Found.ALTERED), (OTHER, Found.SLIPPED_IN), (bundle.digest, Found.ALTERED))
    named_ = (LookedAt(instance_id=first, bundle=name, found=found) for name, found in sorted(faults))
    assert verdict.scores == ScoreCheck(before=1, wrong=3, named=tuple(named_))


def test_a_broken_chain_hides_no_score(database: Engine, bundle: Bundle) -> None:
    (key,) = receive(database, 1)
    write(database, bundle, [key])
    with writing(database) as connection:
        connection.execute(update(finding_score).values(probability=0.5))
        row = select(audit_event.c.id).where(audit_event.c.action == "received")
        connection.execute(update(audit_event).where(audit_event.c.id.in_(row)).values(detail=[1]))
    verdict = trail.verify(database)
    assert (verdict.fault, verdict.scores.wrong) == ("its content was altered", 1)


NUMBERS = (-0.0, 5e-324, 1e-7, 1 / 3, 0.1 + 0.2, 1.7976931348623157e308, float("-inf"), 123456789012345680.0)


def test_numbers_and_times_come_back_as_they_were_written(database: Engine, bundle: Bundle) -> None:
    """And so on both databases: this digest is a constant."""
    keys = receive(database, len(NUMBERS))
    for key, number in zip(keys, NUMBERS, strict=True):
        write(database, bundle, [key], said=replace(SAID, logits=SAID.logits | {"normal": number}))
    assert score_check.check(database) == ScoreCheck(checked=len(NUMBERS))
    with writing(database) as connection:
        row = connection.execute(select(score.c.id).where(score.c.instance_id == keys[3])).scalar_one()
        connection.execute(
            delete(finding_score).where(finding_score.c.score_id == row, finding_score.c.finding != "normal")
        )
        connection.execute(in_score(bundle_digest=SHADOW, software_version="1")(keys[3]))
        connection.execute(update(finding_score).where(finding_score.c.score_id == row).values(probability=5e-324))
        digests = score_digests.written(connection, SHADOW, [keys[3]])
    said = (
        f'{{"bundle_digest":"{SHADOW}","engine":"onnxruntime-fp32","findings":{{"normal":{{"flag":false,'
        '"logit":0.3333333333333333,"probability":5e-324}},"notes":["view"],"prediction_set":["pneumonia"],'
        '"role":"live","scored_at":"2026-11-20T08:30:00.000001+00:00","software_version":"1"}'
    )
    assert digests == {keys[3]: hashlib.sha256(said.encode()).hexdigest()}


def test_every_column_that_says_something_is_in_the_digest() -> None:
    """A new one shall be null in the rows that are there: then their digests stay."""
    assert [column.name for column in score_digests.OF_SCORE] == [
        *("bundle_digest", "role", "engine", "software_version", "scored_at", "prediction_set", "notes", "device")
    ]
    assert [column.name for column in score_digests.OF_FINDING] == [
        *("logit", "probability", "interval_low", "interval_high", "operating_point", "operating_point_id", "flag")
    ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_sqlite_takes_from_a_person(database: Engine, bundle: Bundle) -> None:
    """Text where there is a time or a list; and a film removed past the foreign keys, whose score stays in sight."""
    first, second, third, fourth = receive(database, 4)
    write(database, bundle, [first, second, third, fourth])
    with closing(sqlite3.connect(str(database.url.database), isolation_level=None)) as connection:
        connection.execute("UPDATE score SET prediction_set = 'covid19' WHERE instance_id = ?", (second,))
        connection.execute("UPDATE score SET scored_at = 'yesterday' WHERE instance_id = ?", (third,))
        connection.execute("UPDATE score SET engine = x'00' WHERE instance_id = ?", (fourth,))
        connection.execute("DELETE FROM instance WHERE id = ?", (fourth,))
    found = score_check.check(database)
    assert found.checked == 1
    assert named(found) == [
        (second, "", Found.UNREADABLE),
        (third, "", Found.UNREADABLE),
        (fourth, bundle.digest, Found.ALTERED),
    ]
    assert found.named[0].words == f"the score of instance {second} cannot be read: it was altered"
